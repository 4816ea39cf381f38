// SPDX-License-Identifier: MIT
#include <comet/layers/dense.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

TEST_CASE("a dense layer's gradients agree with finite differences", "[gradient]") {
  for (const Activation activation : {Activation::identity, Activation::relu})
    for (const Index m : {1, 4})
      for (const Index samples : {1, 7}) {
        CAPTURE(activation == Activation::relu, m, samples);
        Dense<double> layer({.input_dim = 3, .output_dim = m, .activation = activation},
                            RandomKey(1));
        test::parameter(layer, "bias") = random_matrix<double>(m, 1, 5);
        test::WithInput model(layer, random_matrix<double>(3, samples, 2));
        const Matrix<double> upstream = random_matrix<double>(m, samples, 3);
        Dense<double>::Workspace workspace;
        Matrix<double> y(m, samples);
        const auto loss = [&] {
          layer.forward(model.x, y, workspace);
          return y.cwiseProduct(upstream).sum();
        };
        const auto result = testing::check_gradients(model, loss, [&] {
          loss();
          Matrix<double> dy = upstream;
          layer.backward(model.x, y, dy, model.dx, workspace);
        });
        INFO(result.where << ": " << result.analytic << " against " << result.numeric);
        CHECK(result.largest_error <= 1e-6);
        CHECK(result.num_checked == 4 * m + 3 * samples);
      }
}

TEMPLATE_TEST_CASE("a dense layer is the formula, for ragged batches too", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-13 : 1e-5;
  for (const Index samples : {0, 1, 3, 4, 5, 130}) {
    CAPTURE(samples);
    Dense<S> layer({.input_dim = 6, .output_dim = 5, .activation = Activation::relu}, RandomKey(1));
    test::parameter(layer, "bias") = random_matrix<S>(5, 1, 2);
    typename Dense<S>::Workspace workspace;
    const Matrix<S> x = random_matrix<S>(6, samples, 3), dy = random_matrix<S>(5, samples, 4);
    Matrix<S> y = Matrix<S>::Constant(5, samples, S(8));
    layer.forward(x, y, workspace);
    const Matrix<S> z = (layer.weight().transpose() * x).colwise() + Vector<S>(layer.bias().col(0));
    CHECK(test::relative_error(y, Matrix<S>(z.cwiseMax(S(0)))) <= tolerance);

    const Matrix<S> dz = (z.array() > S(0)).select(dy.array(), S(0));
    Matrix<S> overwritten = dy, dx = Matrix<S>::Ones(6, samples), none(0, 0);
    layer.backward(x, y, overwritten, dx, workspace);
    CHECK(test::relative_error(dx, Matrix<S>(Matrix<S>::Ones(6, samples) + layer.weight() * dz)) <=
          tolerance);
    CHECK(test::relative_error(overwritten, dz) <= tolerance);
    CHECK(test::relative_error(test::gradient(layer, "weight"), Matrix<S>(x * dz.transpose())) <=
          tolerance);
    CHECK(test::relative_error(test::gradient(layer, "bias"), Matrix<S>(dz.rowwise().sum())) <=
          tolerance);
    const auto gradients = test::gradients_of(layer);
    zero_gradients(layer);
    overwritten = dy;
    layer.backward(x, y, overwritten, none, workspace);
    CHECK(test::same_bits(test::gradients_of(layer), gradients));
  }
}

TEST_CASE("a dense layer refuses wrong sizes") {
  CHECK_THROWS_WITH(Dense<float>({.input_dim = 0, .output_dim = 1}, RandomKey(0)),
                    "comet::Dense: input_dim is 0, expected at least 1");
  CHECK_THROWS_WITH(Dense<float>({.input_dim = 1, .output_dim = 0}, RandomKey(0)),
                    "comet::Dense: output_dim is 0, expected at least 1");
  Dense<float> layer({.input_dim = 3, .output_dim = 2}, RandomKey(0));
  Dense<float>::Workspace workspace;
  const Matrix<float> x = Matrix<float>::Zero(3, 4);
  Matrix<float> y(2, 4), dy(2, 4), short_y(2, 3), tall_y(3, 4), dx(3, 4);
  CHECK_THROWS_WITH(layer.forward(Matrix<float>::Zero(2, 4), y, workspace),
                    "comet::Dense::forward: x.rows() is 2, expected input_dim = 3");
  CHECK_THROWS_WITH(layer.forward(x, tall_y, workspace),
                    "comet::Dense::forward: y.rows() is 3, expected output_dim = 2");
  CHECK_THROWS_WITH(layer.forward(x, short_y, workspace),
                    "comet::Dense::forward: y.cols() is 3, expected x.cols() = 4");
  CHECK_THROWS_WITH(layer.backward(x, y, short_y, dx, workspace),
                    "comet::Dense::backward: dy.cols() is 3, expected x.cols() = 4");
  CHECK_THROWS_WITH(layer.backward(x, short_y, dy, dx, workspace),
                    "comet::Dense::backward: y.cols() is 3, expected x.cols() = 4");
  CHECK_THROWS_WITH(layer.backward(x, y, dy, tall_y.topRows(2), workspace),
                    "comet::Dense::backward: dx.rows() is 2, expected x.rows() = 3");
}
