// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <comet/gates/balanced_top_k.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/expert_choice.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/remoe.hpp>
#include <comet/gates/sampled.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/static_dselect_k.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/testing/gate_laws.hpp>

using comet::ExpertId;
using comet::Index;
using comet::Matrix;
using comet::Pass;
using comet::Permutation;
using comet::RandomKey;
using comet::Routing;
using comet::Samples;
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
  comet::for_each_parameter(gate, [&](const comet::ParameterName&, auto& values) {
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
  comet::for_each_parameter(gate, [](const comet::ParameterName& name, auto& values) {
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

TEMPLATE_TEST_CASE("balanced Top-k and expert choice obey the laws of gates", "",
                   COMET_TEST_SCALARS) {
  using Balanced = comet::BalancedTopKGate<TestType>;
  using Choice = comet::ExpertChoiceGate<TestType>;
  for_sizes([](Index n, Index k, Index samples) {
    CHECK(check<Balanced>(Balanced({.input_dim = 3, .num_experts = n, .k = k}, RandomKey(1)),
                          {.num_samples = samples,
                           .relabel = n == 1 ? nullptr : permute_hyperplanes<Balanced>}) == Laws{});
    CHECK(check<Choice>(Choice({.input_dim = 3, .num_experts = n, .k = k}, RandomKey(1)),
                        {.num_samples = samples,
                         .sums_to_one = false,
                         .relabel = n == 1 ? nullptr : permute_hyperplanes<Choice>}) == Laws{});
  });
}

TEMPLATE_TEST_CASE("the sampled gate and ReMoE obey the laws of gates", "", COMET_TEST_SCALARS) {
  using Sampled = comet::SampledGate<TestType>;
  using ReMoe = comet::ReMoeGate<TestType>;
  for_sizes([](Index n, Index k, Index samples) {
    if (k >= 2)
      CHECK(check<Sampled>(Sampled({.input_dim = 3, .num_experts = n, .k = k, .trimmed_lasso = 0.3},
                                   RandomKey(1)),
                           {.num_samples = samples, .relabel = permute_hyperplanes<Sampled>}) ==
            Laws{});
    CHECK(check<ReMoe>(
              ReMoe({.input_dim = 3, .num_experts = n, .k = k, .sparsity = 0.3}, RandomKey(1)),
              {.num_samples = samples,
               .sums_to_one = false,
               .at_most_one = false,
               .relabel = n == 1 ? nullptr : permute_hyperplanes<ReMoe>}) == Laws{});
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
      CHECK(check<Hash>(Hash({.num_experts = n, .num_ids = 20}, RandomKey(1)),
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
  depends_on_address,
  remembers_calls,
  writes_parameters,
  threads_change_rows,
  shares_parameters,
  fails_on_empty,
  routes_masked,
  mask_moves_others,
  takes_any_rows,
  takes_nan,
  prefers_expert_zero,
  allocates,
  random,
  overwrites_gradients,
  needs_dx,
  writes_dweights,
  writes_routing,
  writes_ids,
  trains_on_empty,
  counts_masked,
  trains_on_masked,
  gives_masked_dx,
  threads_change_gradients,
  goes_back_alone,
  goes_back_after_route,
  goes_back_after_failure,
  takes_other_samples,
  takes_any_dx,
  takes_any_dweights,
  wrong_gradient,
  wrong_dx,
  allocates_in_training,
  draws_by_place,
  keeps_sums_to_itself,
};

/// A softmax gate with one thing wrong with it.
class FlawedGate {
 public:
  using Inner = comet::SoftmaxGate<double>;
  using Scalar = double;
  struct Workspace {
    Pass<Inner> inner, other;
    const double* last = nullptr;  // features of the last route()
    double regularization = 0;
  };

  explicit FlawedGate(Flaw flaw)
      : flaw_(flaw),
        inner_({.input_dim = 2, .num_experts = 3}, RandomKey(1)),
        shared_(std::make_shared<Inner>(inner_)) {}

  Index input_dim() const { return 2; }
  Index num_experts() const { return 3; }
  Index max_active() const { return is(Flaw::too_many) ? 2 : 3; }

  void route(const Samples<double>& samples, Routing<double>& routing,
             Pass<FlawedGate>& pass) const {
    if (is(Flaw::fails_on_empty) && samples.size() == 0) throw std::runtime_error("empty");
    if (is(Flaw::takes_any_rows) && samples.dim() != input_dim()) return;
    auto& ws = pass.workspace;
    auto& inner_pass = is(Flaw::goes_back_after_route) ? ws.other : ws.inner;
    try {
      if (is(Flaw::routes_masked)) {
        inner().route(samples.features, routing, inner_pass);
      } else {
        inner().route(samples, routing, inner_pass);
      }
    } catch (const comet::NotFinite&) {
      if (!is(Flaw::takes_nan)) throw;
    }
    if (is(Flaw::allocates)) std::vector<double>(100).swap(waste_);
    if (samples.size() > 0) spoil(samples, routing, pass);
    ws.last = samples.features.data();
  }

  void forward(const Samples<double>& samples, Routing<double>& routing, RandomKey key,
               Pass<FlawedGate>& pass) const {
    auto& ws = pass.workspace;
    if (is(Flaw::goes_back_after_failure)) samples.validate("FlawedGate::forward");
    inner().forward(samples, routing, key, ws.inner);
    if (is(Flaw::random) && samples.size() > 0)
      routing.weights()[0] *= 1 - 1e-3 * double(++calls_ % 2);
    if (is(Flaw::counts_masked)) ws.regularization = 1e-3 * double(samples.size());
    if (is(Flaw::draws_by_place))
      for (Index b = 0; b < samples.size(); ++b)
        if (samples.is_live(b) && key.fold(b).bits(0) % 2 == 0) {
          double& weight = routing.weights()[std::size_t(routing.offsets()[std::size_t(b)])];
          weight = std::nextafter(weight, 0.0);
        }
    if (is(Flaw::keeps_sums_to_itself)) {
      ws.regularization = 0;
      for (Index b = 0; b < samples.size(); ++b) ws.regularization += samples.is_live(b) ? 1e-3 : 0;
    }
  }

  void backward(const Samples<double>& samples, const Routing<double>& routing,
                std::span<const double> dweights, comet::MatrixView<double> dx,
                Pass<FlawedGate>& pass) const {
    const auto gradients = pass.gradients(*this);
    if (is(Flaw::overwrites_gradients) && samples.size() > 0) gradients[0].setZero();
    if (is(Flaw::allocates_in_training)) std::vector<double>(100).swap(waste_);
    pass.workspace.inner.borrow(gradients);
    try {
      inner().backward(samples, routing, dweights, dx, pass.workspace.inner);
    } catch (const std::invalid_argument& error) {
      if (!forgives(error.what())) throw;
      return;
    }
    if (trains_too_much(samples, dx, pass)) gradients[1](0, 0) += slip;
    if (samples.size() > 0) overreach(samples, routing, dweights, dx);
  }
  double regularization(const Pass<FlawedGate>& pass) const {
    return pass.workspace.regularization;
  }

  template <class F>
  void visit(F&& f) const {
    inner().visit(f);
  }

 private:
  static constexpr double slip = 1e-4;

  bool is(Flaw flaw) const { return flaw_ == flaw; }
  const Inner& inner() const { return is(Flaw::shares_parameters) ? *shared_ : inner_; }

  static bool has_four_threads(const Pass<FlawedGate>& pass) {
    return pass.pool != nullptr && pass.pool->num_threads() == 4;
  }

  void spoil(const Samples<double>& samples, Routing<double>& routing,
             const Pass<FlawedGate>& pass) const {
    auto weights = routing.weights();
    auto experts = routing.experts();
    if (is(Flaw::descending)) std::swap(experts[0], experts[1]);
    if (is(Flaw::out_of_range)) experts[2] = 3;
    for (double& weight : weights) {
      if (is(Flaw::negative)) weight = -weight;
      if (is(Flaw::sums_to_more)) weight *= 1 + 1e-6;
    }
    const double* x = samples.features.data();
    if ((is(Flaw::depends_on_batch) && samples.size() > 1) ||
        (is(Flaw::depends_on_address) && reinterpret_cast<std::uintptr_t>(x) % 16 == 8) ||
        (is(Flaw::remembers_calls) && x == pass.workspace.last) ||
        (is(Flaw::threads_change_rows) && has_four_threads(pass)) ||
        (is(Flaw::mask_moves_others) && !samples.mask.empty()))
      weights[0] = std::nextafter(weights[0], 2.0);
    if (is(Flaw::writes_parameters))
      comet::for_each_parameter(const_cast<FlawedGate&>(*this),
                                [](const comet::ParameterName&, auto& values) { values *= 1.5; });
    if (is(Flaw::prefers_expert_zero))
      for (std::size_t i = 0; i < weights.size(); i += 3) {
        weights[i] += 0.5 * weights[i + 1];
        weights[i + 1] *= 0.5;
      }
  }

  bool forgives(const std::string& mistake) const {
    const auto about = [&](const char* words) { return mistake.find(words) != std::string::npos; };
    return (is(Flaw::goes_back_alone) && about("call it first")) ||
           (is(Flaw::takes_other_samples) && about("x.cols() is")) ||
           (is(Flaw::takes_any_dx) && about("dx.rows() is")) ||
           (is(Flaw::takes_any_dweights) && about("dweights.size() is"));
  }

  bool trains_too_much(const Samples<double>& samples, const comet::MatrixView<double>& dx,
                       const Pass<FlawedGate>& pass) const {
    if (samples.size() == 0) return is(Flaw::trains_on_empty);
    return is(Flaw::wrong_gradient) || (is(Flaw::needs_dx) && dx.size() == 0) ||
           (is(Flaw::trains_on_masked) && !samples.mask.empty()) ||
           (is(Flaw::threads_change_gradients) && has_four_threads(pass));
  }

  void overreach(const Samples<double>& samples, const Routing<double>& routing,
                 std::span<const double> dweights, comet::MatrixView<double> dx) const {
    if (is(Flaw::writes_dweights)) const_cast<double&>(dweights[0]) += slip;
    if (is(Flaw::writes_routing)) const_cast<Routing<double>&>(routing).weights()[0] += slip;
    if (is(Flaw::writes_ids)) ++const_cast<std::int32_t&>(samples.ids[0]);
    if (dx.size() == 0) return;
    if (is(Flaw::wrong_dx)) dx(1, 1) += slip;
    if (is(Flaw::gives_masked_dx))
      for (Index b = 0; b < samples.size(); ++b)
        if (!samples.is_live(b)) dx(0, b) += slip;
  }

  Flaw flaw_;
  Inner inner_;
  std::shared_ptr<Inner> shared_;
  mutable int calls_ = 0;
  mutable std::vector<double> waste_;
};

/// Another row in another batch, and it says so.
struct Sociable : FlawedGate {
  static constexpr bool depends_on_batch = true;
  Sociable() : FlawedGate(Flaw::depends_on_batch) {}
  void route(const Samples<double>& samples, Routing<double>& routing, Pass<Sociable>& pass) const {
    Pass<FlawedGate> inner;
    FlawedGate::route(samples, routing, inner);
    pass.workspace = inner.workspace;
  }
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

TEST_CASE("every law catches the gate that breaks it, and no other law does") {
  const auto breaks = [](Flaw flaw, const std::string& law) {
    CAPTURE(int(flaw));
    CHECK(broken_by(flaw) == std::vector<std::string>{law});
  };
  CHECK(broken_by(Flaw::none).empty());
  breaks(Flaw::descending, "entries ascend, in range and few");
  breaks(Flaw::out_of_range, "entries ascend, in range and few");
  breaks(Flaw::too_many, "entries ascend, in range and few");
  breaks(Flaw::negative, "weights are shares");
  breaks(Flaw::sums_to_more, "weights are shares");
  breaks(Flaw::depends_on_batch, "a sample is independent of its batch");
  breaks(Flaw::depends_on_address, "a row is independent of memory");
  breaks(Flaw::remembers_calls, "route() is repeatable");
  breaks(Flaw::threads_change_rows, "threads change no bit of a row");
  breaks(Flaw::fails_on_empty, "an empty batch is a batch");
  breaks(Flaw::routes_masked, "a masked sample is routed nowhere");
  breaks(Flaw::mask_moves_others, "a masked sample is routed nowhere");
  breaks(Flaw::takes_any_rows, "wrong inputs are named");
  breaks(Flaw::takes_nan, "wrong inputs are named");
  breaks(Flaw::prefers_expert_zero, "relabelling experts moves weights");
  breaks(Flaw::overwrites_gradients, "gradients accumulate");
  breaks(Flaw::needs_dx, "dx is optional");
  breaks(Flaw::writes_dweights, "inputs of backward() are left alone");
  breaks(Flaw::writes_routing, "inputs of backward() are left alone");
  breaks(Flaw::writes_ids, "inputs of backward() are left alone");
  breaks(Flaw::trains_on_empty, "an empty batch trains nothing");
  breaks(Flaw::counts_masked, "a masked sample trains nothing");
  breaks(Flaw::trains_on_masked, "a masked sample trains nothing");
  breaks(Flaw::gives_masked_dx, "a masked sample trains nothing");
  breaks(Flaw::threads_change_gradients, "threads change no bit of a gradient");
  breaks(Flaw::goes_back_alone, "backward() follows its forward()");
  breaks(Flaw::goes_back_after_route, "backward() follows its forward()");
  breaks(Flaw::goes_back_after_failure, "backward() follows its forward()");
  breaks(Flaw::takes_other_samples, "backward() follows its forward()");
  breaks(Flaw::takes_any_dx, "backward() follows its forward()");
  breaks(Flaw::takes_any_dweights, "backward() follows its forward()");
  breaks(Flaw::wrong_gradient, "parameter gradients agree with differences");
  breaks(Flaw::wrong_dx, "dx agrees with differences");
  breaks(Flaw::draws_by_place, "a row is that of its sample's number in the whole batch");
  breaks(Flaw::keeps_sums_to_itself, "ranks that share a batch have its gradients and its penalty");
  if (comet::test::can_count_allocations) {
    breaks(Flaw::allocates, "route() allocates once");
    breaks(Flaw::allocates_in_training, "forward() and backward() allocate once");
  }
}

TEST_CASE("a gate that changes under a law's hands breaks that law among others") {
  const auto breaks = [](Flaw flaw, const std::string& law) {
    const auto laws = broken_by(flaw);
    CAPTURE(law, laws);
    CHECK(std::find(laws.begin(), laws.end(), law) != laws.end());
  };
  breaks(Flaw::writes_parameters, "route() is repeatable");
  breaks(Flaw::shares_parameters, "copies are independent");
  breaks(Flaw::random, "forward() is a function of its key");
}

TEST_CASE("a law may be left out, and a gate of ids says how many there are") {
  using Hash = comet::HashGate<double>;
  const Hash gate({0, 1}, 2);
  CHECK(comet::testing::check_gate_laws(gate).empty());
  // More ids than the gate knows: the gate throws, and the report says so.
  const auto broken = comet::testing::check_gate_laws(gate, {.num_ids = 50});
  REQUIRE(!broken.empty());
  CHECK(broken[0].detail.starts_with("throws comet::HashGate::route: ids["));

  const auto check_flawed = [](Flaw flaw, const GateLawOptions<FlawedGate>& options) {
    return comet::testing::check_gate_laws(FlawedGate(flaw), options);
  };
  CHECK(check_flawed(Flaw::wrong_dx, {.differences = false}).empty());
  CHECK(check_flawed(Flaw::takes_nan, {.misuse = false}).empty());
  CHECK(check_flawed(Flaw::goes_back_alone, {.misuse = false}).empty());
}

TEST_CASE("weights that are not shares are left alone where the gate does not promise them") {
  const GateLawOptions<FlawedGate> options{.at_most_one = false};
  CHECK(comet::testing::check_gate_laws(FlawedGate(Flaw::sums_to_more), options).empty());
  CHECK(comet::testing::check_gate_laws(FlawedGate(Flaw::negative), options).size() == 1);
}

TEST_CASE("a gate that says so may look at the whole batch") {
  CHECK(comet::testing::check_gate_laws(Sociable()).empty());
}
