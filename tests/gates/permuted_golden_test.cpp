// SPDX-License-Identifier: MIT
#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/permutation.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/local_search/permuted_gate.hpp>

#include <support/catch.hpp>
#include <support/gates.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

/// \file
/// \brief The cases of the golden files that have a permutation, one per selector, hard or soft.
/// (Those without one are checked by the gates' own tests.)

using namespace comet;
using comet::test::Json;
using comet::test::parameter;

namespace {

template <class S>
constexpr double tolerance = std::is_same_v<S, double> ? 1e-9 : 1e-4;

/// [k, n, n] row by row: k matrices with row = slot, column = expert.
std::vector<Matrix<double>> permutation_matrices(const Json& tensor) {
  const Matrix<double> columns = test::matrix(tensor);
  const Index n = columns.rows();
  std::vector<Matrix<double>> list;
  for (Index first = 0; first < columns.cols(); first += n)
    list.push_back(columns.middleCols(first, n).transpose());
  return list;
}

Matrix<double> mean_of(const std::vector<Matrix<double>>& list) {
  Matrix<double> sum = list.front();
  for (std::size_t j = 1; j < list.size(); ++j) sum += list[j];
  return sum / double(list.size());
}

bool is_hard(const Matrix<double>& p) {
  return (p.array() == 0.0 || p.array() == 1.0).all() && p.rowwise().sum().isOnes() &&
         p.colwise().sum().isOnes();
}

Permutation hard(const Matrix<double>& p) {
  std::vector<ExpertId> experts(std::size_t(p.rows()));
  for (Index i = 0; i < p.rows(); ++i) p.row(i).maxCoeff(&experts[std::size_t(i)]);
  return Permutation(std::move(experts));
}

/// Hands the matrices to the gate as what they are. Returns whether they were hard.
template <class G>
bool set(PermutedGate<G>& gate, const std::vector<Matrix<double>>& matrices) {
  std::vector<Permutation> permutations;
  const bool all_hard = std::all_of(matrices.begin(), matrices.end(), is_hard);
  for (const auto& p : matrices)
    permutations.push_back(all_hard ? hard(p) : Permutation::identity(p.rows()));
  if (all_hard) {
    gate.set_permutations(std::move(permutations));
  } else {
    gate.set_soft(matrices, permutations);
  }
  return all_hard;
}

/// Weights of a case and the gradient by x. \return the pass with the gradients by parameters
template <class G>
[[nodiscard]] Pass<PermutedGate<G>> check(const PermutedGate<G>& gate, const Json& c) {
  using S = typename G::Scalar;
  const Matrix<S> x = test::matrix<S>(c.at("params").at("x"));
  Pass pass(gate);
  Routing<S> routing;
  gate.forward(x, routing, RandomKey(0), pass);
  CHECK_NOTHROW(routing.validate("test", gate.num_experts(), x.cols()));
  CHECK(test::relative_error(routing.dense(gate.num_experts()), test::matrix(c.at("weights"))) <=
        tolerance<S>);
  const double regularizer = c.at("regularizer_upstream").template get<double>() *
                             c.at("regularizer").template get<double>();
  CHECK(double(gate.regularization(pass)) ==
        Approx(regularizer).epsilon(tolerance<S>).margin(1e-6));

  const std::vector<S> dweights = test::entries(routing, test::matrix<S>(c.at("upstream")));
  Matrix<S> dx = Matrix<S>::Zero(x.rows(), x.cols());
  gate.backward(x, routing, dweights, dx, pass);
  CHECK(test::relative_error(dx, test::matrix(c.at("grads").at("x"))) <= tolerance<S>);
  return pass;
}

template <class G>
void check_gradient(const PermutedGate<G>& gate, Pass<PermutedGate<G>>& pass,
                    const std::string& name, const Json& expected) {
  INFO(name);
  CHECK(test::relative_error(test::gradient(gate, pass, name), test::matrix(expected)) <=
        tolerance<typename G::Scalar>);
}

/// A Top-k gate in whose forward pass the noise is given.
template <class S>
class ReplayedTopK {
 public:
  using Scalar = S;
  struct Workspace {
    Pass<TopKGate<S>> inner;
  };

  ReplayedTopK(TopKGate<S> gate, Matrix<S> noise)
      : gate_(std::move(gate)), noise_(std::move(noise)) {}

  [[nodiscard]] Index num_experts() const { return gate_.num_experts(); }
  [[nodiscard]] Index max_active() const { return gate_.max_active(); }

  void route(const Samples<S>& samples, Routing<S>& routing, Pass<ReplayedTopK>& pass) const {
    gate_.route(samples, routing, pass.workspace.inner);
  }
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey /*key*/,
               Pass<ReplayedTopK>& pass) const {
    gate_.forward(samples, noise_, routing, pass.workspace.inner);
  }
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<ReplayedTopK>& pass) const {
    pass.workspace.inner.borrow(pass.gradients(*this));
    gate_.backward(samples, routing, dweights, dx, pass.workspace.inner);
  }
  [[nodiscard]] S regularization(const Pass<ReplayedTopK>& pass) const {
    return gate_.regularization(pass.workspace.inner);
  }
  template <class F>
  void visit(F&& f) const {
    gate_.visit(f);
  }

 private:
  TopKGate<S> gate_;
  Matrix<S> noise_;  // n x B
};

}  // namespace

TEMPLATE_TEST_CASE("COMET with a permutation per tree matches the reference", "[golden]",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  int hard_cases = 0;
  int soft_cases = 0;
  for (const Json& c : test::golden("comet_gate.json")) {
    if (c.at("permutation").is_null()) continue;
    PermutedGate gate(CometGate<S>({.input_dim = c.at("d").get<Index>(),
                                    .num_experts = c.at("n").get<Index>(),
                                    .k = c.at("k").get<Index>(),
                                    .gamma = c.at("gamma").get<double>(),
                                    .entropy = c.at("regularizer_upstream").get<double>()},
                                   RandomKey(0)));
    const Json& params = c.at("params");
    parameter(gate, "split.weight") = test::matrix<S>(params.at("split_weight"));
    parameter(gate, "split.bias") = test::matrix<S>(params.at("split_bias")).reshaped();
    parameter(gate, "leaf.weight") = test::matrix<S>(params.at("leaf_weight"));
    parameter(gate, "leaf.bias") = test::matrix<S>(params.at("leaf_bias")).reshaped();
    const bool all_hard = set(gate, permutation_matrices(c.at("permutation")));
    ++(all_hard ? hard_cases : soft_cases);
    CAPTURE(gate.num_experts(), gate.num_selectors(), all_hard);
    auto pass = check(gate, c);
    const Json& grads = c.at("grads");
    const auto column = [](const Json& tensor) {
      const Json& data = tensor.at("data");
      return Json{{"shape", Json::array({data.size()})}, {"data", data}};
    };
    check_gradient(gate, pass, "split.weight", grads.at("split_weight"));
    check_gradient(gate, pass, "split.bias", column(grads.at("split_bias")));
    check_gradient(gate, pass, "leaf.weight", grads.at("leaf_weight"));
    check_gradient(gate, pass, "leaf.bias", column(grads.at("leaf_bias")));
  }
  CHECK(hard_cases == 14);
  CHECK(soft_cases == 14);
}

TEMPLATE_TEST_CASE("DSelect-k with a permutation per selector matches the reference", "[golden]",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  int hard_cases = 0;
  int soft_cases = 0;
  for (const Json& c : test::golden("dselect_k_gate.json")) {
    if (c.at("permutation").is_null()) continue;
    PermutedGate gate(DSelectKGate<S>({.input_dim = c.at("d").get<Index>(),
                                       .num_experts = c.at("n").get<Index>(),
                                       .k = c.at("k").get<Index>(),
                                       .gamma = c.at("gamma").get<double>(),
                                       .entropy = c.at("regularizer_upstream").get<double>()},
                                      RandomKey(0)));
    const Json& params = c.at("params");
    const Json& grads = c.at("grads");
    parameter(gate, "bit.weight") = test::matrix<S>(params.at("z_weight"));
    parameter(gate, "bit.bias") = test::matrix<S>(params.at("z_bias"));
    parameter(gate, "mixture.weight") = test::matrix<S>(params.at("w_weight"));
    parameter(gate, "mixture.bias") = test::matrix<S>(params.at("w_bias"));
    const bool all_hard = set(gate, permutation_matrices(c.at("permutation")));
    ++(all_hard ? hard_cases : soft_cases);
    CAPTURE(gate.num_experts(), gate.num_selectors(), all_hard);
    auto pass = check(gate, c);
    check_gradient(gate, pass, "bit.weight", grads.at("z_weight"));
    check_gradient(gate, pass, "bit.bias", grads.at("z_bias"));
    check_gradient(gate, pass, "mixture.weight", grads.at("w_weight"));
    check_gradient(gate, pass, "mixture.bias", grads.at("w_bias"));
  }
  CHECK(hard_cases == 14);
  CHECK(soft_cases == 14);
}

TEMPLATE_TEST_CASE("Top-k with the mean of permutations matches the reference", "[golden]",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  int hard_cases = 0;
  int soft_cases = 0;
  for (const Json& c : test::golden("top_k_gate.json")) {
    if (c.at("permutation").is_null()) continue;
    const bool noisy = !c.at("noise").is_null();
    TopKGate<S> inner({.input_dim = c.at("d").get<Index>(),
                       .num_experts = c.at("n").get<Index>(),
                       .k = c.at("k").get<Index>(),
                       .noise = noisy},
                      RandomKey(0));
    const Json& params = c.at("params");
    parameter(inner, "weight") = test::matrix<S>(params.at("weight"));
    parameter(inner, "bias") = test::matrix<S>(params.at("bias"));
    if (noisy) parameter(inner, "noise.weight") = test::matrix<S>(params.at("noise_weight"));
    const Json& grads = c.at("grads");
    const std::vector<Matrix<double>> p = {mean_of(permutation_matrices(c.at("permutation")))};
    const auto run = [&](auto gate) {
      const bool all_hard = set(gate, p);
      ++(all_hard ? hard_cases : soft_cases);
      CAPTURE(gate.num_experts(), all_hard, noisy);
      auto pass = check(gate, c);
      check_gradient(gate, pass, "weight", grads.at("weight"));
      check_gradient(gate, pass, "bias", grads.at("bias"));
      if (noisy) check_gradient(gate, pass, "noise.weight", grads.at("noise_weight"));
    };
    if (noisy) {
      run(PermutedGate(ReplayedTopK<S>(inner, test::matrix<S>(c.at("noise")))));
    } else {
      run(PermutedGate(inner));
    }
  }
  // The mean of different hard permutations is soft.
  CHECK(hard_cases > 0);
  CHECK(hard_cases + soft_cases == 28);
}

TEMPLATE_TEST_CASE("Hash with a permutation matches the reference", "[golden]",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  int hard_cases = 0;
  int soft_cases = 0;
  for (const Json& c : test::golden("hash_gate.json")) {
    if (c.at("permutation").is_null()) continue;
    const auto n = c.at("n").get<Index>();
    PermutedGate gate(HashGate<S>(c.at("expert_of_row").get<std::vector<ExpertId>>(), n));
    const bool all_hard = set(gate, permutation_matrices(c.at("permutation")));
    ++(all_hard ? hard_cases : soft_cases);
    CAPTURE(n, all_hard);
    std::vector<std::int32_t> ids(std::size_t(gate.gate().num_ids()));
    for (std::size_t b = 0; b < ids.size(); ++b) ids[b] = std::int32_t(b);
    Pass pass(gate);
    Routing<S> routing;
    const Matrix<S> none(0, Index(ids.size()));
    gate.forward(Samples<S>(none, ids), routing, RandomKey(0), pass);
    CHECK(test::relative_error(routing.dense(n), test::matrix(c.at("weights"))) <= tolerance<S>);
    if (!all_hard) continue;
    gate.route(Samples<S>(none, ids), routing, pass);
    CHECK(test::relative_error(routing.dense(n), test::matrix(c.at("weights"))) == 0);
  }
  CHECK(hard_cases == 7);
  CHECK(soft_cases == 7);
}
