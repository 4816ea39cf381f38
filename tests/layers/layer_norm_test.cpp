// SPDX-License-Identifier: MIT
#include <cmath>

#include <comet/layers/layer_norm.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/layer_checks.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

TEMPLATE_TEST_CASE("layer norm is the formula, at any number of features", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-13 : 1e-5;
  for (const bool parameters : {true, false})
    for (const Index d : {1, 2, 3, 8, 13, 130}) {
      CAPTURE(parameters, d);
      LayerNorm<S> layer({.input_dim = d, .scale_and_shift = parameters});
      CHECK(count_parameters(layer) == (parameters ? 2 * d : 0));
      Matrix<double> scale = Matrix<double>::Ones(d, 1), shift = Matrix<double>::Zero(d, 1);
      if (parameters) {
        test::parameter(layer, "weight") = random_matrix<S>(d, 1, 1);
        test::parameter(layer, "bias") = random_matrix<S>(d, 1, 2);
        scale = test::parameter(layer, "weight").template cast<double>();
        shift = test::parameter(layer, "bias").template cast<double>();
      }
      const Matrix<S> x = random_matrix<S>(d, 5, 3, 2, 6);
      Matrix<S> y(d, 5);
      Pass pass(layer);
      layer.forward(x, y, RandomKey(0), pass);
      Matrix<double> expected(d, 5);
      for (Index b = 0; b < 5; ++b) {
        const Vector<double> column = x.col(b).template cast<double>();
        const double mean = column.mean();
        const double variance = (column.array() - mean).square().mean();
        expected.col(b) =
            ((column.array() - mean) / std::sqrt(variance + 1e-5) * scale.array() + shift.array())
                .matrix();
      }
      CHECK(test::relative_error(y, expected) <= tolerance);
      Matrix<S> in_place = x;
      layer.predict(in_place, in_place, pass);
      CHECK(test::same_bits(in_place, y));
    }
}

TEST_CASE("a layer norm's gradients agree with finite differences", "[gradient]") {
  for (const bool parameters : {true, false})
    for (const Index d : {1, 2, 5, 130}) {
      CAPTURE(parameters, d);
      LayerNorm<double> layer({.input_dim = d, .scale_and_shift = parameters, .epsilon = 1e-3});
      if (parameters) test::parameter(layer, "weight") = random_matrix<double>(d, 1, 1);
      CHECK(test::check_layer_gradients(layer, random_matrix<double>(d, 3, 2)) ==
            (parameters ? 5 : 3) * d);
    }
}

TEST_CASE("a layer norm gives the same bits for any batch and any number of threads") {
  LayerNorm<float> layer({.input_dim = 203});
  test::parameter(layer, "weight") = random_matrix<float>(203, 1, 1);
  test::check_layer_bits(layer, 700, {0, 1, 2, 699});  // columns that begin anywhere in memory
}

TEST_CASE("layer norm of equal features is the shift, and wrong sizes are refused") {
  const LayerNorm<double> layer({.input_dim = 3});
  Pass pass(layer);
  Matrix<double> x = Matrix<double>::Constant(3, 2, 0.1), y(3, 2), dx = x, short_y(3, 1),
                 tall(4, 2);
  layer.predict(x, y, pass);
  CHECK(y.cwiseAbs().maxCoeff() < 1e-12);
  layer.backward(x, y, y, dx, pass);
  CHECK(dx.allFinite());
  Matrix<double> none(3, 0);
  layer.predict(none, none, pass);
  layer.backward(none, none, none, none, pass);
  CHECK_THROWS_WITH(LayerNorm<float>({.input_dim = 0}),
                    "comet::LayerNorm: input_dim is 0, expected at least 1");
  CHECK_THROWS_WITH(LayerNorm<float>({.input_dim = 1, .epsilon = 0}),
                    "comet::LayerNorm: epsilon is 0, expected a finite number > 0");
  CHECK_THROWS_WITH(layer.predict(tall, tall, pass),
                    "comet::LayerNorm::predict: x.rows() is 4, expected input_dim = 3");
  CHECK_THROWS_WITH(layer.forward(x, short_y, RandomKey(0), pass),
                    "comet::LayerNorm::forward: y.cols() is 1, expected x.cols() = 2");
  CHECK_THROWS_WITH(layer.backward(x, y, tall, dx, pass),
                    "comet::LayerNorm::backward: dy.rows() is 4, expected input_dim = 3");
  CHECK_THROWS_WITH(layer.backward(x, y, y, tall, pass),
                    "comet::LayerNorm::backward: dx.rows() is 4, expected x.rows() = 3");
}

TEST_CASE("a column of a million features has its mean and variance, in float too") {
  const Index d = 1'000'001;
  const LayerNorm<float> layer({.input_dim = d});
  Pass pass(layer);
  Matrix<float> x = Matrix<float>::Constant(d, 1, 0.1F), y(d, 1);
  layer.predict(x, y, pass);
  CHECK(y.cwiseAbs().maxCoeff() < 1e-3F);
  for (Index i = 0; i < d; i += 2) x(i, 0) = 0.3F;
  layer.predict(x, y, pass);
  CHECK(y(0, 0) == Approx(0.9995).epsilon(1e-4));  // 0.1 / sqrt(0.01 + 1e-5)
  CHECK(y(1, 0) == Approx(-0.9995).epsilon(1e-4));
}

TEST_CASE("scale and shift learn from a million samples as from few, in float too") {
  const Index samples = 1'000'000;
  const LayerNorm<float> layer({.input_dim = 2});
  Pass pass(layer);
  Matrix<float> x(2, samples), y(2, samples);
  x.row(0).setConstant(1);
  x.row(1).setConstant(-1);
  const Matrix<float> dy = Matrix<float>::Constant(2, samples, 1e-6F);
  layer.forward(x, y, RandomKey(0), pass);
  layer.backward(x, y, dy, no_gradient, pass);
  CHECK(pass.gradients(layer)[0](0, 0) == Approx(1).epsilon(2e-4));
  CHECK(pass.gradients(layer)[0](1, 0) == Approx(-1).epsilon(2e-4));
  CHECK(pass.gradients(layer)[1](0, 0) == Approx(1).epsilon(2e-4));
}
