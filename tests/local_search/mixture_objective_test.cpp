// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <type_traits>
#include <vector>

#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/hash.hpp>
#include <comet/local_search/mixture_objective.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/local_search/swap_search.hpp>
#include <comet/moe_layer.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

constexpr Index d = 4, m = 3, n = 6, samples = 21;  // 21: not a multiple of a block's width

std::vector<DenseExpert<double>> make_experts() {
  std::vector<DenseExpert<double>> experts;
  for (std::uint64_t i = 0; i < n; ++i)
    experts.emplace_back(DenseExpertOptions{.input_dim = d, .output_dim = m, .dropout = 0.5},
                         RandomKey(9).fold(i));
  return experts;
}

/// The objective, from any current permutation, is the loss of the layer's own predictions.
template <class Gate, class Input>
void check_against_layer(std::vector<PermutedGate<Gate>> gates, const Input& input,
                         std::vector<std::int32_t> ids) {
  using Layer = MoeLayer<PermutedGate<Gate>, DenseExpert<double>>;
  const Index tasks = Index(gates.size());
  Layer layer(std::move(gates), make_experts());
  const Matrix<double> x = random_matrix<double>(d, samples, 11);
  const Matrix<double> target = random_matrix<double>(m, tasks * samples, 12);
  const auto loss = [&](const Matrix<double>& y) {
    REQUIRE(y.rows() == m);
    REQUIRE(y.cols() == tasks * samples);
    return (y - target).squaredNorm();
  };
  MixtureObjective objective(layer.experts(), x, std::move(ids), loss);
  objective.start(layer.gates());
  for (std::uint64_t from = 0; from < 3; ++from) {
    const auto current = Permutation::random(n, RandomKey(from));
    objective.move_to(current.as_span());
    for (std::uint64_t to = 0; to < 5; ++to) {
      const auto candidate = to == 0 ? current : Permutation::random(n, RandomKey(to));
      for (auto& gate : layer.gates()) gate.set_permutation(candidate);
      Matrix<double> y(m, tasks * samples);
      typename Layer::Workspace workspace;
      layer.predict(x, input, y, workspace);
      CHECK(objective.loss(candidate.as_span()) == Approx(loss(y)).epsilon(1e-13));
    }
  }

  // start() sees what training has changed.
  layer.visit_parameters([](const ParameterName&, auto& values, auto&) { values *= 1.5; });
  const auto identity = Permutation::identity(n);
  for (auto& gate : layer.gates()) gate.set_permutation(identity);
  objective.start(layer.gates());
  objective.move_to(identity.as_span());
  Matrix<double> y(m, tasks * samples);
  typename Layer::Workspace workspace;
  layer.predict(x, input, y, workspace);
  CHECK(objective.loss(identity.as_span()) == Approx(loss(y)).epsilon(1e-13));
}

}  // namespace

TEST_CASE("the objective equals the loss of the layer's predictions") {
  const Matrix<double> x = random_matrix<double>(d, samples, 11);
  for (const double gamma : {0.02, 20.0}) {  // sparse rows and full ones
    std::vector<PermutedGate<CometGate<double>>> gates;
    for (std::uint64_t t = 0; t < 2; ++t)
      gates.emplace_back(
          CometGate<double>({.input_dim = d, .num_experts = n, .gamma = gamma}, RandomKey(t)));
    check_against_layer(std::move(gates), ConstMatrixView<double>(x), {});
  }
  std::vector<std::int32_t> ids(samples);
  for (std::size_t b = 0; b < ids.size(); ++b) ids[b] = std::int32_t(b % 10);
  std::vector<PermutedGate<HashGate<double>>> gates;
  gates.emplace_back(HashGate<double>({.num_ids = 10, .num_experts = n}, RandomKey(1)));
  check_against_layer(std::move(gates), std::span<const std::int32_t>(ids), ids);
}

TEST_CASE("misuse of the objective is named") {
  const auto loss = [](const Matrix<double>&) { return 0.0; };
  const Matrix<double> x = random_matrix<double>(d, samples, 1);
  const auto experts = make_experts();
  const std::vector<DenseExpert<double>> none;
  CHECK_THROWS_WITH(MixtureObjective(none, x, loss),
                    "comet::MixtureObjective: experts.size() is 0, expected at least 1");
  CHECK_THROWS_WITH(MixtureObjective(experts, x.topRows(2), loss),
                    "comet::MixtureObjective: x.rows() is 2, expected input_dim = 4");
  using Objective = MixtureObjective<DenseExpert<double>, decltype(loss)>;
  using Experts = std::vector<DenseExpert<double>>;
  static_assert(std::is_constructible_v<Objective, Experts&, Matrix<double>, decltype(loss)>);
  static_assert(!std::is_constructible_v<Objective, Experts, Matrix<double>, decltype(loss)>);
  std::vector<PermutedGate<HashGate<double>>> gates;
  gates.emplace_back(HashGate<double>({.num_ids = 10, .num_experts = n}, RandomKey(1)));
  MixtureObjective objective(experts, x, loss);
  CHECK_THROWS_WITH(objective.start(gates),
                    "comet::MixtureObjective::start: ids.size() is 0, expected x.cols() = 21");
  gates[0] = PermutedGate(HashGate<double>({.num_ids = 10, .num_experts = n + 1}, RandomKey(1)));
  CHECK_THROWS_WITH(
      objective.start(gates),
      "comet::MixtureObjective::start: gate.num_experts() is 7, expected experts.size() = 6");
}
