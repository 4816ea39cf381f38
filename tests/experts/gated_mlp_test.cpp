// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include <comet/core/concepts.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/experts/gated_mlp.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/moe_layer.hpp>
#include <support/catch.hpp>
#include <support/expert_laws.hpp>
#include <support/mixture_checks.hpp>
#include <support/model.hpp>

using namespace comet;

static_assert(SplitBackwardExpert<GatedMlpExpert<float>>);

namespace {

constexpr Activation activations[] = {Activation::silu, Activation::gelu, Activation::relu,
                                      Activation::identity};

template <class S>
using Layer = MoeLayer<TopKGate<S>, GatedMlpExpert<S>>;

template <class S>
Layer<S> make_layer(GatedMlpExpertOptions options, Index n) {
  TopKGate<S> gate({.input_dim = options.input_dim, .num_experts = n, .k = 2}, RandomKey(9));
  return Layer<S>({gate}, make_experts<GatedMlpExpert<S>>(n, options, RandomKey(7)));
}

double activated(Activation activation, double z) {
  switch (activation) {
    case Activation::silu:
      return z / (1 + std::exp(-z));
    case Activation::gelu:
      return z * std::erfc(-z / std::sqrt(2.0)) / 2;
    case Activation::relu:
      return std::max(z, 0.0);
    default:
      return z;
  }
}

}  // namespace

TEST_CASE("gated MLP: activated units times others") {
  for (const auto activation : activations) {
    CAPTURE(int(activation));
    GatedMlpExpert<double> expert(
        {.input_dim = 6, .hidden_dim = 10, .output_dim = 5, .activation = activation},
        RandomKey(1));
    test::parameter(expert, "hidden.bias").setConstant(0.1);
    test::parameter(expert, "factor.bias").setConstant(0.3);
    test::parameter(expert, "output.bias").setConstant(-0.2);
    const Matrix<double> x = test::random_matrix<double>(6, 8, 2);
    Matrix<double> y(5, 8), cache(expert.cache_dim(), 8);
    expert.predict(x, y, cache);
    Matrix<double> hidden = test::parameter(expert, "hidden.weight").transpose() * x;
    hidden = hidden.unaryExpr([&](double z) { return activated(activation, z + 0.1); });
    const Matrix<double> factor = test::parameter(expert, "factor.weight").transpose() * x;
    hidden.array() *= factor.array() + 0.3;
    Matrix<double> expected = test::parameter(expert, "output.weight").transpose() * hidden;
    expected.array() -= 0.2;
    CHECK((y - expected).cwiseAbs().maxCoeff() < 1e-14);
    CHECK(expert.cost() == 170.0);

    // In training the same, if nothing is dropped.
    Matrix<double> trained(5, 8);
    expert.forward(x, trained, cache, TrainingTile{RandomKey(3), {}, 0});
    CHECK(test::same_bits(trained, y));
  }
}

TEST_CASE("gated MLP: gradients agree with differences in a layer, with and without dropout") {
  for (const auto activation : activations)
    for (const double dropout : {0.0, 0.4})
      // Two slices of units, but for the kink of ReLU, which one of so many is close to.
      for (const Index hidden : {1, 5, activation == Activation::relu ? 9 : 130}) {
        CAPTURE(int(activation), dropout, hidden);
        auto layer = make_layer<double>({.input_dim = 3,
                                         .hidden_dim = hidden,
                                         .output_dim = 2,
                                         .dropout = dropout,
                                         .activation = activation},
                                        2);
        const auto result = test::check_mixture_gradients(
            layer, test::random_matrix<double>(3, 3, 11), test::random_matrix<double>(2, 3, 2));
        CAPTURE(result.where, result.analytic, result.numeric);
        CHECK(result.largest_error < 1e-7);
      }
}

TEST_CASE("gated MLP: the laws of experts, at any number of threads") {
  for (const auto activation : activations) {
    const GatedMlpExpertOptions options = {
        .input_dim = 5, .hidden_dim = 19, .output_dim = 3, .activation = activation};
    test::check_expert_laws(GatedMlpExpert<double>(options, RandomKey(5)));
    test::check_prediction_laws(GatedMlpExpert<float>(options, RandomKey(5)));
  }
  const auto layer =
      make_layer<float>({.input_dim = 64, .hidden_dim = 130, .output_dim = 32, .dropout = 0.5}, 3);
  test::check_mixture_threads(layer, test::random_matrix<float>(64, 300, 1));
}

TEST_CASE("gated MLP: misuse is named") {
  const auto make = [](GatedMlpExpertOptions options) {
    return GatedMlpExpert<float>(options, RandomKey(0));
  };
  CHECK_THROWS_WITH(make({.input_dim = 2, .hidden_dim = 0, .output_dim = 2}),
                    "comet::GatedMlpExpert: hidden_dim is 0, expected at least 1");
  CHECK_THROWS_AS(make({.input_dim = 0, .hidden_dim = 2, .output_dim = 2}), std::invalid_argument);
  CHECK_THROWS_AS(make({.input_dim = 2, .hidden_dim = 2, .output_dim = 0}), std::invalid_argument);
  CHECK_THROWS_AS(make({.input_dim = 2, .hidden_dim = 2, .output_dim = 2, .dropout = 1}),
                  std::invalid_argument);
}
