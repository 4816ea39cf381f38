// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/local_search/mixture_objective.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/moe_layer.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

constexpr Index d = 4, m = 3, n = 6, samples = 21;  // 21: not a multiple of a block's width

std::vector<DenseExpert<double>> experts() {
  return make_experts<DenseExpert<double>>(n, {.input_dim = d, .output_dim = m, .dropout = 0.5},
                                           RandomKey(9));
}

/// The objective, from any current permutation, is the loss of the layer's own predictions.
template <class Gate>
void check_against_layer(std::vector<PermutedGate<Gate>> gates, const Samples<double>& held_out) {
  using Layer = MoeLayer<PermutedGate<Gate>, DenseExpert<double>>;
  const Index tasks = Index(gates.size());
  Layer layer(std::move(gates), experts());
  Pass pass(layer);
  const Matrix<double> target = random_matrix<double>(m, tasks * samples, 12);
  const auto loss = [&](const Matrix<double>& y) {
    REQUIRE(y.rows() == m);
    REQUIRE(y.cols() == tasks * samples);
    return (y - target).squaredNorm();
  };
  MixtureObjective objective(layer.experts(), held_out, loss);
  objective.start(layer.gates());
  for (std::uint64_t from = 0; from < 3; ++from) {
    const auto current = Permutation::random(n, RandomKey(from));
    objective.move_to(current.as_span());
    for (std::uint64_t to = 0; to < 5; ++to) {
      const auto candidate = to == 0 ? current : Permutation::random(n, RandomKey(to));
      for (auto& gate : layer.gates()) gate.set_permutation(candidate);
      Matrix<double> y(m, tasks * samples);
      layer.predict(held_out, y, pass);
      CHECK(objective.loss(candidate.as_span()) == Approx(loss(y)).epsilon(1e-13));
    }
  }

  // start() sees what training has changed.
  for_each_parameter(layer, [](const ParameterName&, auto& values) { values *= 1.5; });
  const auto identity = Permutation::identity(n);
  for (auto& gate : layer.gates()) gate.set_permutation(identity);
  objective.start(layer.gates());
  objective.move_to(identity.as_span());
  Matrix<double> y(m, tasks * samples);
  layer.predict(held_out, y, pass);
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
    check_against_layer(std::move(gates), x);
  }
  std::vector<std::int32_t> ids(samples);
  for (std::size_t b = 0; b < ids.size(); ++b) ids[b] = std::int32_t(b % 10);
  std::vector<PermutedGate<HashGate<double>>> gates;
  gates.emplace_back(HashGate<double>({.num_experts = n, .num_ids = 10}, RandomKey(1)));
  check_against_layer(gates, Samples{x, ids});
  // Padding is not looked at, and is part of no mixture.
  std::vector<std::uint8_t> mask(samples, 1);
  mask[0] = mask[13] = 0;
  Matrix<double> padded = x;
  padded.col(13).setConstant(std::nan(""));
  check_against_layer(gates, Samples{padded, ids, mask});
}

TEST_CASE("experts may differ in what they keep") {
  std::vector<MlpExpert<double>> unequal;
  for (const Index inner : {2, 9, 5, 1, 7, 3})
    unequal.emplace_back(MlpExpertOptions{.input_dim = d, .hidden_dim = inner, .output_dim = m},
                         RandomKey(std::uint64_t(inner)));
  using Gate = PermutedGate<TopKGate<double>>;
  MoeLayer<Gate, MlpExpert<double>> layer(
      {Gate(TopKGate<double>({.input_dim = d, .num_experts = n, .k = 2}, RandomKey(1)))}, unequal);
  const Matrix<double> x = random_matrix<double>(d, samples, 11);
  MixtureObjective objective(layer.experts(), x, [](const Matrix<double>& y) { return y.sum(); });
  objective.start(layer.gates());
  objective.move_to(Permutation::identity(n).as_span());
  Matrix<double> y(m, samples);
  Pass pass(layer);
  layer.predict(x, y, pass);
  CHECK(objective.loss(Permutation::identity(n).as_span()) == Approx(y.sum()).epsilon(1e-13));
  // A copy stands by itself.
  auto copy = objective;
  objective.move_to(Permutation::random(n, RandomKey(3)).as_span());
  CHECK(copy.loss(Permutation::identity(n).as_span()) == Approx(y.sum()).epsilon(1e-13));
}

TEST_CASE("a mask or ids of another size are refused before they are read") {
  const auto loss = [](const Matrix<double>&) { return 0.0; };
  const Matrix<double> x = random_matrix<double>(d, samples, 1);
  const auto all = experts();
  const std::vector<std::uint8_t> mask(3, 1);
  const std::vector<std::int32_t> ids(2, 0);
  CHECK_THROWS_WITH(MixtureObjective(all, Samples<double>(x, {}, mask), loss),
                    "comet::MixtureObjective: samples.mask.size() is 3, expected x.cols() = 21");
  CHECK_THROWS_WITH(MixtureObjective(all, Samples<double>(x, ids), loss),
                    "comet::MixtureObjective: samples.ids.size() is 2, expected x.cols() = 21");
}

TEST_CASE("experts that have changed since are checked at every start") {
  std::vector<PermutedGate<TopKGate<double>>> gates;
  gates.emplace_back(TopKGate<double>({.input_dim = d, .num_experts = n, .k = 2}, RandomKey(1)));
  const Matrix<double> x = random_matrix<double>(d, samples, 1);
  const auto made = [](Index input_dim, Index output_dim) {
    return DenseExpert<double>({.input_dim = input_dim, .output_dim = output_dim}, RandomKey(1));
  };
  auto all = experts();
  MixtureObjective objective(all, x, [](const Matrix<double>& y) { return y.sum(); });
  objective.start(gates);
  objective.move_to(Permutation::identity(n).as_span());
  const double loss = objective.loss(Permutation::identity(n).as_span());

  const auto kept = all[4];
  all[4] = made(d, m + 1);
  CHECK_THROWS_WITH(objective.start(gates),
                    "comet::MixtureObjective::start: expert.output_dim() is 4, expected that of "
                    "the first expert = 3");
  all[4] = made(d + 1, m);
  CHECK_THROWS_WITH(objective.start(gates),
                    "comet::MixtureObjective::start: expert.input_dim() is 5, expected that of "
                    "the first expert = 4");
  all[4] = kept;
  const auto first = all[0];
  all[0] = made(d + 1, m);
  CHECK_THROWS_WITH(objective.start(gates),
                    "comet::MixtureObjective::start: x.rows() is 4, expected input_dim = 5");
  all[0] = first;
  all.pop_back();
  CHECK_THROWS_WITH(objective.start(gates),
                    "comet::MixtureObjective::start: experts.size() is 5, expected that at "
                    "construction = 6");
  all.clear();
  CHECK_THROWS_WITH(objective.start(gates),
                    "comet::MixtureObjective::start: experts.size() is 0, expected that at "
                    "construction = 6");
  // What was known before is still there.
  CHECK(objective.loss(Permutation::identity(n).as_span()) == loss);
}

TEST_CASE("misuse of the objective is named") {
  const auto loss = [](const Matrix<double>&) { return 0.0; };
  const Matrix<double> x = random_matrix<double>(d, samples, 1);
  const auto all = experts();
  const std::vector<DenseExpert<double>> none;
  CHECK_THROWS_WITH(MixtureObjective(none, x, loss),
                    "comet::MixtureObjective: experts.size() is 0, expected at least 1");
  CHECK_THROWS_WITH(MixtureObjective(all, x.topRows(2), loss),
                    "comet::MixtureObjective: x.rows() is 2, expected input_dim = 4");
  using Objective = MixtureObjective<DenseExpert<double>, decltype(loss)>;
  using Experts = std::vector<DenseExpert<double>>;
  static_assert(std::is_constructible_v<Objective, Experts&, Matrix<double>, decltype(loss)>);
  static_assert(!std::is_constructible_v<Objective, Experts, Matrix<double>, decltype(loss)>);
  std::vector<PermutedGate<HashGate<double>>> gates;
  gates.emplace_back(HashGate<double>({.num_experts = n, .num_ids = 10}, RandomKey(1)));
  MixtureObjective objective(all, x, loss);
  CHECK_THROWS_WITH(
      objective.start(gates),
      ContainsSubstring("comet::HashGate::route: samples.ids.size() is 0, expected one "
                        "id per sample"));
  Matrix<double> bad = x;
  bad(1, 2) = std::nan("");
  CHECK_THROWS_AS(MixtureObjective(all, bad, loss), NotFinite);
  gates[0] = PermutedGate(HashGate<double>({.num_experts = n + 1, .num_ids = 10}, RandomKey(1)));
  CHECK_THROWS_WITH(
      objective.start(gates),
      "comet::MixtureObjective::start: gate.num_experts() is 7, expected experts.size() = 6");
  gates.insert(gates.begin(),
               PermutedGate(HashGate<double>({.num_experts = n, .num_ids = 10}, RandomKey(1))));
  CHECK_THROWS_WITH(
      objective.start(gates),
      "comet::MixtureObjective::start: gate.num_experts() is 7, expected experts.size() = 6");
  const std::vector<ExpertId> identity = {0, 1, 2, 3, 4, 5}, few = {0, 1},
                              beyond = {0, 1, 2, 3, 4, 6};
  CHECK_THROWS_WITH(
      objective.move_to(identity),
      "comet::MixtureObjective::move_to: nothing is known of the gates; call start() first");
  std::vector<PermutedGate<TopKGate<double>>> right;
  right.emplace_back(TopKGate<double>({.input_dim = d, .num_experts = n, .k = 2}, RandomKey(1)));
  objective.start(right);
  CHECK_THROWS_WITH(objective.loss(identity),
                    "comet::MixtureObjective::loss: there is nothing to compare with; call "
                    "move_to() first");
  objective.move_to(identity);
  CHECK_THROWS_WITH(
      objective.move_to(few),
      "comet::MixtureObjective::move_to: permutation.size() is 2, expected experts.size() = 6");
  CHECK_THROWS_WITH(
      objective.loss(few),
      "comet::MixtureObjective::loss: candidate.size() is 2, expected experts.size() = 6");
  CHECK_THROWS_WITH(objective.loss(beyond),
                    "comet::MixtureObjective::loss: an expert is 6, expected at "
                    "least 0 and below experts.size() = 6");
  CHECK_NOTHROW(objective.loss(identity));  // what was refused has changed nothing
  gates.clear();
  CHECK_THROWS_WITH(objective.start(gates),
                    "comet::MixtureObjective::start: gates.size() is 0, expected at least 1");
}
