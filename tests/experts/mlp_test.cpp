// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/moe_layer.hpp>
#include <support/mixture_checks.hpp>
#include <support/model.hpp>

using comet::Index;
using comet::Matrix;
using comet::MlpExpert;
using comet::RandomKey;
namespace test = comet::test;

static_assert(comet::SplitBackwardExpert<MlpExpert<float>>);

namespace {

template <class S>
using Layer = comet::MoeLayer<comet::TopKGate<S>, MlpExpert<S>>;

template <class S>
Layer<S> make_layer(comet::MlpExpertOptions options, Index n = 3) {
  std::vector<MlpExpert<S>> experts;
  for (Index i = 0; i < n; ++i) experts.emplace_back(options, RandomKey(std::uint64_t(i)));
  comet::TopKGate<S> gate({.input_dim = options.input_dim, .num_experts = n, .k = 2}, RandomKey(9));
  return Layer<S>({gate}, experts);
}

}  // namespace

TEST_CASE("the MLP expert is two affine maps with ReLU between") {
  MlpExpert<double> expert({.input_dim = 6, .hidden_dim = 10, .output_dim = 5}, RandomKey(1));
  test::parameter(expert, "hidden.bias").setConstant(0.1);
  test::parameter(expert, "output.bias").setConstant(-0.2);
  const Matrix<double> x = test::random_matrix<double>(6, 8, 2);
  Matrix<double> y(5, 8), cache(expert.cache_dim(), 8);
  expert.predict(x, y, cache);
  Matrix<double> hidden = test::parameter(expert, "hidden.weight").transpose() * x;
  hidden = (hidden.array() + 0.1).max(0);
  Matrix<double> expected = test::parameter(expert, "output.weight").transpose() * hidden;
  expected.array() -= 0.2;
  CHECK((y - expected).cwiseAbs().maxCoeff() < 1e-14);
  CHECK(expert.cost() == 110.0);
}

TEST_CASE("MLP expert gradients agree with differences in a layer, with and without dropout") {
  for (const auto activation :
       {comet::Activation::relu, comet::Activation::gelu, comet::Activation::silu})
    for (const double dropout : {0.0, 0.4})
      for (const Index hidden :
           dropout > 0 ? std::vector<Index>{1, 5, 66} : std::vector<Index>{1, 5}) {
        CAPTURE(int(activation), dropout, hidden);
        const Index samples = hidden == 1 ? 1 : 3;
        auto layer = make_layer<double>({.input_dim = 3,
                                         .hidden_dim = hidden,
                                         .output_dim = 2,
                                         .dropout = dropout,
                                         .activation = activation},
                                        2);
        const auto result =
            test::check_mixture_gradients(layer, test::random_matrix<double>(3, samples, 11),
                                          test::random_matrix<double>(2, samples, 2));
        CAPTURE(result.where, result.analytic, result.numeric);
        CHECK(result.largest_error < 1e-7);
      }
}

TEST_CASE("a sample's bits depend neither on its batch nor on the threads, at any hidden size") {
  // Sizes on both sides of the point where Eigen changes the path of a product.
  for (const auto activation :
       {comet::Activation::relu, comet::Activation::gelu, comet::Activation::silu})
    for (const Index d : {1, 3, 20})
      for (const Index hidden : {1, 2, 4, 9, 33})
        for (const Index m : {1, 2, 15}) {
          CAPTURE(int(activation), d, hidden, m);
          const auto layer = make_layer<float>(
              {.input_dim = d, .hidden_dim = hidden, .output_dim = m, .activation = activation});
          comet::Pass pass(layer);
          const Matrix<float> x = test::random_matrix<float>(d, 45, 1);
          Matrix<float> y(m, 45);
          layer.predict(x, y, pass);
          for (const Index b : {0, 17, 44}) {
            Matrix<float> alone(m, 1);
            layer.predict(x.col(b), alone, pass);
            CHECK(test::same_bits(alone, y.col(b)));
          }
        }
  const auto layer =
      make_layer<float>({.input_dim = 64, .hidden_dim = 130, .output_dim = 32, .dropout = 0.5});
  test::check_mixture_threads(layer, test::random_matrix<float>(64, 300, 1));
}

TEST_CASE("experts of unequal hidden sizes have all of their gradients on any threads") {
  std::vector<MlpExpert<float>> experts;
  for (const Index hidden : {400, 5, 130, 260, 1, 128})
    experts.emplace_back(
        comet::MlpExpertOptions{.input_dim = 64, .hidden_dim = hidden, .output_dim = 32},
        RandomKey(std::uint64_t(hidden)));
  const comet::TopKGate<float> gate({.input_dim = 64, .num_experts = 6, .k = 2}, RandomKey(9));
  test::check_mixture_threads(Layer<float>({gate}, experts),
                              test::random_matrix<float>(64, 300, 1));
}

TEST_CASE("misuse of the MLP expert is named") {
  const auto make = [](comet::MlpExpertOptions options) {
    return MlpExpert<float>(options, RandomKey(0));
  };
  CHECK_THROWS_WITH(make({.input_dim = 2, .hidden_dim = 0, .output_dim = 2}),
                    "comet::MlpExpert: hidden_dim is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 2,
                          .hidden_dim = 2,
                          .output_dim = 2,
                          .activation = comet::Activation::identity}),
                    "comet::MlpExpert: the activation is identity, expected relu, gelu or silu");
  CHECK_THROWS_AS(make({.input_dim = 0, .hidden_dim = 2, .output_dim = 2}), std::invalid_argument);
  CHECK_THROWS_AS(make({.input_dim = 2, .hidden_dim = 2, .output_dim = 0}), std::invalid_argument);
  CHECK_THROWS_AS(make({.input_dim = 2, .hidden_dim = 2, .output_dim = 2, .dropout = 1}),
                  std::invalid_argument);
}
