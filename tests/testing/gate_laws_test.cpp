// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/testing/gate_laws.hpp>

using comet::ExpertId;
using comet::Index;
using comet::Matrix;
using comet::Permutation;
using comet::RandomKey;
using comet::Routing;
using comet::testing::BrokenLaw;
using comet::testing::GateLawOptions;

namespace {

using Laws = std::vector<BrokenLaw>;

template <class G>
Laws check(const G& gate, GateLawOptions<G> options) {
  if (comet::test::can_count_allocations)
    options.count_allocations = [] { return comet::test::allocations.load(); };
  // Differences only where they are cheap; they do not depend on n.
  options.differences = gate.num_experts() <= 5 && options.num_samples > 1;
  return comet::testing::check_gate_laws(gate, options);
}

/// For gates with one hyperplane per expert: weight is d x n, bias n x 1.
template <class G>
void permute_hyperplanes(G& gate, const Permutation& p) {
  gate.visit_parameters([&](const comet::ParameterName&, auto& values, auto&) {
    const Matrix<typename G::Scalar> before = values;
    for (Index i = 0; i < p.size(); ++i)
      if (values.cols() == 1) {
        values(p[i], 0) = before(i, 0);
      } else {
        values.col(p[i]) = before.col(i);
      }
  });
}

/// Makes every split and bit hard.
template <class G>
G saturated(G gate) {
  gate.visit_parameters([](const comet::ParameterName& name, auto& values, auto&) {
    if (name.str().starts_with("split") || name.str().starts_with("bit")) values *= 1e7;
  });
  return gate;
}

/// Calls use(n, k, B) for every size.
template <class F>
void for_sizes(F use) {
  for (const Index n : {1, 2, 3, 5, 8, 16, 33})
    for (const Index k : std::set<Index>{1, std::min(Index(2), n), n})
      for (const Index samples : {0, 1, 7}) {
        CAPTURE(n, k, samples);
        use(n, k, samples);
      }
}

}  // namespace

TEMPLATE_TEST_CASE("COMET obeys the laws of gates", "", COMET_TEST_SCALARS) {
  using Gate = comet::CometGate<TestType>;
  for_sizes([](Index n, Index k, Index samples) {
    const Gate gate({.input_dim = 3, .num_experts = n, .k = k, .gamma = 0.1, .entropy = 0.1},
                    RandomKey(1));
    CHECK(check<Gate>(gate, {.num_samples = samples}) == Laws{});
    CHECK(check<Gate>(saturated(gate), {.num_samples = samples, .max_active = k}) == Laws{});
  });
}

TEMPLATE_TEST_CASE("Top-k obeys the laws of gates", "", COMET_TEST_SCALARS) {
  using Gate = comet::TopKGate<TestType>;
  for_sizes([](Index n, Index k, Index samples) {
    CHECK(check<Gate>(Gate({.input_dim = 3, .num_experts = n, .k = k}, RandomKey(1)),
                      {.num_samples = samples,
                       .relabel = n == 1 ? nullptr : permute_hyperplanes<Gate>}) == Laws{});
    const Gate gate({.input_dim = 3,
                     .num_experts = n,
                     .k = k,
                     .softmax = comet::TopKSoftmax::all,
                     .noise = true,
                     .load_balance = 0.5,
                     .importance = 0.5,
                     .router_z = 0.1},
                    RandomKey(2));
    CHECK(check<Gate>(gate, {.num_samples = samples, .sums_to_one = false}) == Laws{});
  });
}

TEMPLATE_TEST_CASE("DSelect-k obeys the laws of gates", "", COMET_TEST_SCALARS) {
  using Gate = comet::DSelectKGate<TestType>;
  using Static = comet::StaticDSelectKGate<TestType>;
  for_sizes([](Index n, Index k, Index samples) {
    const bool sums_to_one = n > 1 && (n & (n - 1)) == 0;
    const Gate gate({.input_dim = 3,
                     .num_experts = n,
                     .k = k,
                     .gamma = 0.1,
                     .entropy = 0.1,
                     .reachability = 0.1},
                    RandomKey(1));
    CHECK(check<Gate>(gate, {.num_samples = samples, .sums_to_one = sums_to_one}) == Laws{});
    CHECK(check<Gate>(saturated(gate),
                      {.num_samples = samples, .max_active = k, .sums_to_one = sums_to_one}) ==
          Laws{});
    const Static fixed({.num_experts = n, .k = k, .entropy = 0.1, .reachability = 0.1},
                       RandomKey(1));
    CHECK(check<Static>(fixed, {.num_samples = samples, .sums_to_one = sums_to_one}) == Laws{});
  });
}

TEMPLATE_TEST_CASE("Hash and softmax obey the laws of gates", "", COMET_TEST_SCALARS) {
  using Softmax = comet::SoftmaxGate<TestType>;
  using Hash = comet::HashGate<TestType>;
  for (const Index n : {1, 2, 3, 5, 8, 16, 33})
    for (const Index samples : {0, 1, 7}) {
      CAPTURE(n, samples);
      CHECK(check<Softmax>(Softmax({.input_dim = 3, .num_experts = n}, RandomKey(1)),
                           {.num_samples = samples,
                            .relabel = n == 1 ? nullptr : permute_hyperplanes<Softmax>}) == Laws{});
      CHECK(check<Hash>(Hash({.num_ids = 20, .num_experts = n}, RandomKey(1)),
                        {.num_samples = samples, .relabel = [](Hash& gate, const Permutation& p) {
                           std::vector<ExpertId> table(gate.table().begin(), gate.table().end());
                           for (ExpertId& expert : table) expert = p[expert];
                           gate = Hash(table, gate.num_experts());
                         }}) == Laws{});
    }
}

namespace {

enum class Flaw {
  none,
  descending,
  out_of_range,
  too_many,
  negative,
  sums_to_more,
  depends_on_batch,
  counts_calls,
  writes_parameters,
  shares_parameters,
  fails_on_empty,
  prefers_expert_zero,
  allocates,
  random,
  overwrites_gradients,
  needs_dx,
  wrong_gradient,
  wrong_dx,
  trains_on_empty,
  allocates_in_training,
};

/// A softmax gate with one thing wrong with it.
class FlawedGate {
 public:
  using Inner = comet::SoftmaxGate<double>;
  using Scalar = double;
  using Input = Inner::Input;
  using Workspace = Inner::Workspace;

  explicit FlawedGate(Flaw flaw)
      : flaw_(flaw),
        inner_({.input_dim = 2, .num_experts = 3}, RandomKey(1)),
        shared_(std::make_shared<Inner>(inner_)) {}

  Index input_dim() const { return 2; }
  Index num_experts() const { return 3; }
  Index max_active() const { return flaw_ == Flaw::too_many ? 2 : 3; }

  void route(const Input& x, Routing<double>& routing, Workspace& workspace) const {
    if (flaw_ == Flaw::fails_on_empty && x.cols() == 0) throw std::runtime_error("empty");
    inner().route(x, routing, workspace);
    spoil(x, routing);
    if (flaw_ == Flaw::allocates) std::vector<double>(100).swap(waste_);
  }
  void forward(const Input& x, Routing<double>& routing, RandomKey key,
               Workspace& workspace) const {
    inner().forward(x, routing, key, workspace);
    if (flaw_ == Flaw::random && x.cols() > 0)
      routing.weights()[0] *= 1 - 1e-3 * double(++calls_ % 2);
  }
  void backward(const Input& x, const Routing<double>& routing, std::span<const double> dweights,
                comet::MatrixView<double> dx, Workspace& workspace) {
    if (flaw_ == Flaw::overwrites_gradients) comet::zero_gradients(inner());
    if (flaw_ == Flaw::needs_dx && dx.size() == 0) return;
    if (flaw_ == Flaw::allocates_in_training) std::vector<double>(100).swap(waste_);
    inner().backward(x, routing, dweights, dx, workspace);
    const double slip = 1e-4;
    if (flaw_ == Flaw::wrong_dx && dx.size() > 0) dx(1, 1) += slip;
    if (flaw_ == Flaw::wrong_gradient || (flaw_ == Flaw::trains_on_empty && x.cols() == 0))
      inner().visit_parameters(
          [&](const comet::ParameterName&, auto&, auto& gradients) { gradients(1, 0) += slip; });
  }
  double regularization(const Workspace&) const { return 0; }

  template <class F>
  void visit_parameters(F&& f) {
    inner().visit_parameters(f);
  }

 private:
  const Inner& inner() const { return flaw_ == Flaw::shares_parameters ? *shared_ : inner_; }
  Inner& inner() { return flaw_ == Flaw::shares_parameters ? *shared_ : inner_; }

  void spoil(const Input& x, Routing<double>& routing) const {
    if (x.cols() == 0) return;
    auto weights = routing.weights();
    auto experts = routing.experts();
    if (flaw_ == Flaw::descending) std::swap(experts[0], experts[1]);
    if (flaw_ == Flaw::out_of_range) experts[2] = 3;
    if (flaw_ == Flaw::negative) {
      weights[1] += 2 * weights[0];
      weights[0] = -weights[0];
    }
    if (flaw_ == Flaw::sums_to_more) weights[0] += 1e-6;
    if (flaw_ == Flaw::depends_on_batch && x.cols() > 1)
      weights[0] = std::nextafter(weights[0], 2.0);
    if (flaw_ == Flaw::counts_calls && ++calls_ % 2 == 0)
      weights[0] = std::nextafter(weights[0], 2.0);
    if (flaw_ == Flaw::writes_parameters)
      const_cast<FlawedGate*>(this)->inner().visit_parameters(
          [](const comet::ParameterName&, auto& values, auto&) { values *= 1.5; });
    if (flaw_ == Flaw::prefers_expert_zero) {
      weights[0] += 0.5 * weights[1];
      weights[1] *= 0.5;
    }
  }

  Flaw flaw_;
  Inner inner_;
  std::shared_ptr<Inner> shared_;
  mutable int calls_ = 0;
  mutable std::vector<double> waste_;
};

std::vector<std::string> broken_by(Flaw flaw) {
  GateLawOptions<FlawedGate> options{.relabel = permute_hyperplanes<FlawedGate>};
  if (comet::test::can_count_allocations)
    options.count_allocations = [] { return comet::test::allocations.load(); };
  std::vector<std::string> laws;
  for (const BrokenLaw& broken : comet::testing::check_gate_laws(FlawedGate(flaw), options)) {
    CHECK(!broken.detail.empty());
    laws.push_back(broken.law);
  }
  return laws;
}

}  // namespace

TEST_CASE("every law catches the gate that breaks it") {
  const auto breaks = [](Flaw flaw, const std::string& law) {
    const auto laws = broken_by(flaw);
    CAPTURE(law, laws);
    CHECK(std::find(laws.begin(), laws.end(), law) != laws.end());
  };
  CHECK(broken_by(Flaw::none).empty());
  breaks(Flaw::descending, "entries ascend, in range and few");
  breaks(Flaw::out_of_range, "entries ascend, in range and few");
  breaks(Flaw::too_many, "entries ascend, in range and few");
  breaks(Flaw::negative, "weights are shares");
  breaks(Flaw::sums_to_more, "weights are shares");
  breaks(Flaw::depends_on_batch, "a sample is independent of its batch");
  breaks(Flaw::counts_calls, "route() is repeatable");
  breaks(Flaw::writes_parameters, "route() is repeatable");
  breaks(Flaw::shares_parameters, "copies are independent");
  breaks(Flaw::fails_on_empty, "an empty batch is a batch");
  breaks(Flaw::prefers_expert_zero, "relabelling experts moves weights");
  breaks(Flaw::random, "forward() is a function of its key");
  breaks(Flaw::overwrites_gradients, "gradients accumulate");
  breaks(Flaw::needs_dx, "dx is optional");
  breaks(Flaw::wrong_gradient, "parameter gradients agree with differences");
  breaks(Flaw::wrong_dx, "dx agrees with differences");
  breaks(Flaw::trains_on_empty, "an empty batch trains nothing");
  if (comet::test::can_count_allocations) {
    breaks(Flaw::allocates, "route() allocates once");
    breaks(Flaw::allocates_in_training, "forward() and backward() allocate once");
  }
}

TEST_CASE("a law may be left out, and a gate of ids says how many there are") {
  using Hash = comet::HashGate<double>;
  const Hash gate({0, 1}, 2);
  CHECK(comet::testing::check_gate_laws(gate).empty());
  // More ids than the gate knows: the gate throws, and the report says so.
  const auto broken = comet::testing::check_gate_laws(gate, {.num_ids = 50});
  REQUIRE(!broken.empty());
  CHECK(broken[0].detail.starts_with("throws comet::HashGate::route: ids["));

  CHECK(broken_by(Flaw::wrong_dx).size() == 1);
  CHECK(
      comet::testing::check_gate_laws(FlawedGate(Flaw::wrong_dx), {.differences = false}).empty());
}
