// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/samples.hpp>
#include <comet/gates/top_k.hpp>

#include <examples/bert/golden_bert.hpp>
#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::Json;

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

}  // namespace

TEMPLATE_TEST_CASE("Top-k with the weight of all routes as MoEBERT does", "[golden]",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  for (const Json& c : test::golden("bert_routing.json")) {
    if (c.at("level") != "token") continue;
    const Index n = c.at("n");
    const auto gate = gate_of<S>(c);
    const Matrix<S> x = test::matrix<S>(c.at("x"));
    const auto mask = test::numbers<std::uint8_t>(c.at("mask"));
    const Samples<S> samples(x, {}, mask);
    Routing<S> routing;
    Gradients gradients(gate);
    Pass pass(gate);
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
}
