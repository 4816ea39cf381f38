// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/moe_layer.hpp>
#include <comet/testing/gradient_check.hpp>
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
           dropout > 0 ? std::vector<Index>{1, 5, 66} : std::vector<Index>{5}) {
        CAPTURE(int(activation), dropout, hidden);
        auto layer = make_layer<double>({.input_dim = 3,
                                         .hidden_dim = hidden,
                                         .output_dim = 2,
                                         .dropout = dropout,
                                         .activation = activation},
                                        2);
        comet::Pass pass(layer);
        test::WithInput model(layer, test::random_matrix<double>(3, 3, 11));
        const Matrix<double> dy = test::random_matrix<double>(2, 3, 2);
        Matrix<double> y(2, 3);
        const auto loss = [&] {
          layer.forward(model.x, y, RandomKey(4), pass);
          return y.cwiseProduct(dy).sum();
        };
        const auto result = comet::testing::check_gradients(
            model, loss, [&](comet::GradientView<double> gradients) {
              loss();
              pass.borrow(model.of_part(gradients));
              layer.backward(model.x, dy, model.of_input(gradients), pass);
            });
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
  const Matrix<float> x = test::random_matrix<float>(64, 300, 1);
  std::vector<float> reference;
  for (const Index threads : {1, 2, 4}) {
    comet::ThreadPool pool(threads);
    const auto layer =
        make_layer<float>({.input_dim = 64, .hidden_dim = 130, .output_dim = 32, .dropout = 0.5});
    comet::Pass pass(layer, &pool);
    Matrix<float> y(32, 300), dx = Matrix<float>::Zero(64, 300);
    layer.forward(x, y, RandomKey(1), pass);
    layer.backward(x, y, dx, pass);
    auto all = test::gradients_of(layer, pass);
    all.insert(all.end(), dx.data(), dx.data() + dx.size());
    if (threads == 1) reference = all;
    CHECK(test::same_bits(all, reference));
  }
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
