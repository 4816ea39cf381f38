// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/samples.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/local_search/permuted_gate.hpp>

#include <bert/model/sentence_gate.hpp>
#include <examples/bert/golden_bert.hpp>
#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::Json;
using programs::bert::SentenceGate;

namespace {

/// The gate of MoEBERT as the program has it: no bias, because it stays at 0.
template <class S>
TopKGate<S> gate_of(const Json& c) {
  TopKGate<S> gate({.input_dim = c.at("h"),
                    .num_experts = c.at("n"),
                    .k = 1,
                    .softmax = TopKSoftmax::all,
                    .load_balance = c.at("penalty_upstream")},
                   RandomKey(0));
  test::parameter(gate, "weight") = test::matrix<S>(c.at("weight"));
  test::parameter(gate, "bias").setZero();
  return gate;
}

/// Compares weights, penalty and gradients with the reference. \param ids  of sentences, or none
template <class G>
void check_routing(const G& gate, const Json& c, std::span<const std::int32_t> ids) {
  using S = typename G::Scalar;
  const Index n = c.at("n");
  const Matrix<S> x = test::matrix<S>(c.at("x"));
  const auto mask = test::numbers<std::uint8_t>(c.at("mask"));
  const Samples<S> samples(x, ids, mask);
  Routing<S> routing;
  Gradients gradients(gate);
  Pass pass(gate);
  gate.route(samples, routing, pass);
  CHECK(test::relative_error(routing.dense(n), test::matrix(c.at("weights"))) <=
        test::bert_tolerance<S>);
  gate.forward(samples, routing, RandomKey(0), pass);
  CHECK(test::relative_error(routing.dense(n), test::matrix(c.at("weights"))) <=
        test::bert_tolerance<S>);
  CHECK(double(gate.regularization(pass)) ==
        Approx(c.at("penalty_upstream").get<double>() * c.at("penalty").get<double>())
            .epsilon(test::bert_tolerance<S>));

  const Matrix<S> upstream = test::matrix<S>(c.at("upstream"));
  std::vector<S> dweights;
  for (Index b = 0; b < x.cols(); ++b)
    for (const ExpertId expert : routing.experts(b)) dweights.push_back(upstream(expert, b));
  Matrix<S> dx = Matrix<S>::Zero(x.rows(), x.cols());
  pass.borrow(gradients.view());
  gate.backward(samples, routing, dweights, dx, pass);
  CHECK(test::relative_error(dx, test::matrix(c.at("grad_x"))) <= test::bert_tolerance<S>);
  CHECK(test::relative_error(gradients[0], test::matrix(c.at("grad_weight"))) <=
        test::bert_tolerance<S>);
}

Json case_of(const char* level) {
  for (const Json& c : test::golden("bert_routing.json"))
    if (c.at("level") == level) return c;
  throw std::runtime_error("there is no such case");
}

}  // namespace

TEMPLATE_TEST_CASE("Top-k with the weight of all routes as MoEBERT does", "[golden]",
                   COMET_TEST_SCALARS) {
  const Json c = case_of("token");
  check_routing(gate_of<TestType>(c), c, {});
}

TEMPLATE_TEST_CASE("a gate for sentences routes as MoEBERT does", "[golden]", COMET_TEST_SCALARS) {
  using S = TestType;
  const Json c = case_of("sentence");
  std::vector<std::int32_t> ids;
  for (std::int32_t row = 0; row < c.at("b"); ++row)
    ids.insert(ids.end(), std::size_t(c.at("t")), row);
  const SentenceGate gate(AnyGate<S>(gate_of<S>(c)));
  check_routing(gate, c, ids);
  // As a model has it.
  check_routing(PermutedGate(AnyGate<S>(gate)), c, ids);
}
