// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <vector>

#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/local_search/fold.hpp>
#include <comet/moe_layer.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

static_assert(PermutableGate<HashGate<float>> && PermutableGate<TopKGate<float>>);
static_assert(PermutableGate<SoftmaxGate<double>>);
static_assert(!PermutableGate<CometGate<float>> && !PermutableGate<DSelectKGate<float>>);

namespace {

constexpr Index d = 4, n = 7, samples = 50;

template <class Gate>
auto route(const Gate& gate, const typename Gate::Input& input) {
  Routing<typename Gate::Scalar> routing;
  typename Gate::Workspace workspace;
  gate.route(input, routing, workspace);
  return routing;
}

template <class G>
void check_fold(const G& inner, const typename G::Input& input, bool to_the_bit) {
  PermutedGate wrapped(inner);
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    wrapped.set_permutation(Permutation::random(n, RandomKey(seed)));
    const auto expected = route(wrapped, input);
    const auto folded = route(fold(wrapped), input);
    CHECK(std::equal(expected.experts().begin(), expected.experts().end(), folded.experts().begin(),
                     folded.experts().end()));
    if (to_the_bit) {
      CHECK(test::same_bits(expected.dense(n), folded.dense(n)));
    } else {
      CHECK(expected.dense(n).isApprox(folded.dense(n)));
    }
  }
  std::vector<Matrix<double>> soft = {Matrix<double>::Constant(n, n, 1.0 / double(n))};
  wrapped.set_soft(soft, std::vector{Permutation::identity(n)});
  CHECK_THROWS_WITH(fold(wrapped), "comet::fold: the permutation is soft; end the search first");
  CHECK_THROWS_WITH(inner.permuted(Permutation::identity(n - 1)),
                    Catch::Contains("Gate::permuted: p.size() is 6, expected num_experts = 7"));
}

}  // namespace

TEMPLATE_TEST_CASE("a folded gate is the wrapped one", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const Matrix<S> x = random_matrix<S>(d, samples, 1);
  for (const Index k : {1, 2, 5}) {
    CAPTURE(k);
    check_fold(TopKGate<S>({.input_dim = d, .num_experts = n, .k = k}, RandomKey(2)), x, k <= 2);
    check_fold(TopKGate<S>({.input_dim = d, .num_experts = n, .k = k, .softmax = TopKSoftmax::all},
                           RandomKey(2)),
               x, false);
  }
  check_fold(SoftmaxGate<S>({.input_dim = d, .num_experts = n}, RandomKey(3)), x, false);
  std::vector<std::int32_t> ids(samples);
  for (std::size_t b = 0; b < ids.size(); ++b) ids[b] = std::int32_t(b * 3 % 40);
  check_fold(HashGate<S>({.num_ids = 40, .num_experts = n}, RandomKey(4)), ids, true);
}

TEST_CASE("folding a noisy Top-k gate keeps each expert's noise parameters") {
  TopKGate<double> gate({.input_dim = d, .num_experts = n, .k = 2, .noise = true}, RandomKey(2));
  test::parameter(gate, "noise.weight") = random_matrix<double>(d, n, 5);
  const auto p = Permutation::random(n, RandomKey(6));
  TopKGate<double> permuted = gate.permuted(p);
  for (Index i = 0; i < n; ++i)
    for (const char* name : {"weight", "noise.weight"})
      CHECK(test::parameter(permuted, name).col(p[i]) == test::parameter(gate, name).col(i));
}

TEST_CASE("experts in slot order make the wrapper unnecessary, for any gate") {
  const Index m = 3;
  const auto p = Permutation::random(n, RandomKey(7));
  const Matrix<double> x = random_matrix<double>(d, samples, 1);
  std::vector<DenseExpert<double>> experts;
  for (std::uint64_t i = 0; i < n; ++i)
    experts.emplace_back(DenseExpertOptions{.input_dim = d, .output_dim = m}, RandomKey(9).fold(i));
  const auto check = [&](const auto& inner) {
    using G = std::decay_t<decltype(inner)>;
    using E = DenseExpert<double>;
    MoeLayer<PermutedGate<G>, E> wrapped({PermutedGate(inner)}, experts);
    wrapped.gates()[0].set_permutation(p);
    const MoeLayer<G, E> folded({inner}, in_slot_order(experts, p));
    Matrix<double> expected(m, samples), y(m, samples);
    typename MoeLayer<PermutedGate<G>, E>::Workspace wrapped_workspace;
    typename MoeLayer<G, E>::Workspace folded_workspace;
    wrapped.predict(x, expected, wrapped_workspace);
    folded.predict(x, y, folded_workspace);
    CHECK(y.isApprox(expected, 1e-14));
    const auto slots = route(inner, x).dense(n);
    const auto labels = route(wrapped.gates()[0], x).dense(n);
    for (Index i = 0; i < n; ++i) CHECK(test::same_bits(slots.row(i), labels.row(p[i])));
  };
  check(CometGate<double>({.input_dim = d, .num_experts = n, .gamma = 0.02}, RandomKey(2)));
  check(DSelectKGate<double>({.input_dim = d, .num_experts = n, .gamma = 0.02}, RandomKey(2)));
  CHECK_THROWS_WITH(in_slot_order(experts, Permutation::identity(n + 1)),
                    "comet::in_slot_order: p.size() is 8, expected experts.size() = 7");
}
