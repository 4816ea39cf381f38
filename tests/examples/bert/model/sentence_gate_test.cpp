// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/samples.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/testing/gradient_check.hpp>

#include <bert/model/sentence_gate.hpp>
#include <support/catch.hpp>

using namespace comet;
using programs::bert::SentenceGate;

namespace {

constexpr Index dim = 5;

/// Sentences of 3, 1 and 2 tokens, and one that is all padding; tokens in no order.
struct Tokens {
  Matrix<double> x = Matrix<double>::Random(dim, 9);
  std::vector<std::int32_t> ids = {0, 2, 0, 1, 3, 2, 0, 1, 3};
  std::vector<std::uint8_t> mask = {1, 1, 1, 1, 0, 1, 1, 0, 0};

  [[nodiscard]] Samples<double> samples() const { return {x, ids, mask}; }
};

SentenceGate<AnyGate<double>> make(const std::string& name) {
  GateOptions options{.input_dim = dim, .num_experts = 4, .k = 2};
  if (name == "comet" || name == "dselect_k") options.entropy = .1;
  return SentenceGate(make_gate<double>(name, options, RandomKey(3)));
}

}  // namespace

TEST_CASE("all tokens of a sentence go where the mean of them goes") {
  const Tokens tokens;
  for (const std::string name : {"comet", "dselect_k", "top_k", "softmax"}) {
    CAPTURE(name);
    const auto gate = make(name);
    Matrix<double> means(dim, 3);
    means << (tokens.x.col(0) + tokens.x.col(2) + tokens.x.col(6)) / 3, tokens.x.col(3),
        (tokens.x.col(1) + tokens.x.col(5)) / 2;
    Routing<double> of_sentences, routing;
    Pass inner(gate.gate());
    gate.gate().route(means, of_sentences, inner);
    Pass pass(gate);
    gate.route(tokens.samples(), routing, pass);
    const Matrix<double> expected = of_sentences.dense(4), actual = routing.dense(4);
    for (Index t = 0; t < 9; ++t) {
      const auto at = std::size_t(t);
      if (tokens.mask[at] == 0) {
        CHECK(routing.experts(t).empty());
      } else {
        CHECK((actual.col(t) - expected.col(tokens.ids[at])).norm() <= 1e-14);
      }
    }
  }
}

TEST_CASE("padding has no part in a sentence") {
  Tokens tokens;
  const auto gate = make("comet");
  Routing<double> before, after;
  Pass pass(gate);
  gate.route(tokens.samples(), before, pass);
  for (const Index padding : {4, 7, 8}) tokens.x.col(padding).setConstant(1e30);
  gate.route(tokens.samples(), after, pass);
  CHECK(before.dense(4) == after.dense(4));
}

TEST_CASE("gradients of a gate for sentences, by its weights and by its tokens", "[gradient]") {
  Tokens tokens;
  for (const std::string name : {"comet", "dselect_k", "softmax"}) {
    CAPTURE(name);
    auto gate = PermutedGate(AnyGate<double>(make(name)));
    const Matrix<double> upstream = Matrix<double>::Random(4, 9);
    Routing<double> routing;
    Pass pass(gate);
    const auto loss = [&] {
      gate.forward(tokens.samples(), routing, RandomKey(0), pass);
      return routing.dense(4).cwiseProduct(upstream).sum() + gate.regularization(pass);
    };
    Matrix<double> dx;
    const auto backward = [&](GradientView<double> gradients) {
      pass.borrow(gradients);
      (void)loss();
      std::vector<double> dweights;
      for (Index t = 0; t < 9; ++t)
        for (const ExpertId expert : routing.experts(t)) dweights.push_back(upstream(expert, t));
      dx = Matrix<double>::Zero(dim, 9);
      gate.backward(tokens.samples(), routing, dweights, dx, pass);
    };
    const auto result = testing::check_gradients(gate, loss, backward);
    INFO(result.where << ": " << result.analytic << ", " << result.numeric);
    CHECK(result.largest_error < 1e-7);
    for (Index i = 0; i < tokens.x.size(); ++i) {
      constexpr double step = 1e-5;
      double& number = tokens.x.data()[i];
      const double value = number;
      number = value + step;
      const double above = loss();
      number = value - step;
      const double below = loss();
      number = value;
      CHECK(dx.data()[i] == Approx((above - below) / (2 * step)).margin(1e-7));
    }
  }
}

TEST_CASE("a gate for sentences wants the numbers of sentences", "[error]") {
  Tokens tokens;
  const auto gate = make("softmax");
  Routing<double> routing;
  Pass pass(gate);
  CHECK_THROWS_WITH(gate.route(Samples<double>(tokens.x), routing, pass),
                    "comet::SentenceGate: ids.size() is 0, expected number of tokens = 9");
  tokens.ids[2] = 9;
  CHECK_THROWS_WITH(gate.route(tokens.samples(), routing, pass),
                    "comet::SentenceGate: id is 9, expected at most number of tokens - 1 = 8");
  tokens.ids[2] = -1;
  CHECK_THROWS_WITH(gate.route(tokens.samples(), routing, pass),
                    "comet::SentenceGate: id is -1, expected at least 0");
}
