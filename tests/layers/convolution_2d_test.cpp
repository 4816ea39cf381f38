// SPDX-License-Identifier: MIT
#include <comet/core/concepts.hpp>
#include <comet/layers/convolution_2d.hpp>

#include <support/catch.hpp>
#include <support/direct_convolution.hpp>
#include <support/golden.hpp>
#include <support/layer_checks.hpp>
#include <support/model.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace comet;
using comet::test::random_matrix;

static_assert(ColumnFunction<Convolution2d<float>>);
static_assert(TrainableExpert<Convolution2d<double>>);

namespace {

Convolution2dOptions options(Index height, Index width, Index channels, Index filters,
                             Index kernel_height, Index kernel_width, Index stride = 1,
                             Padding padding = Padding::valid,
                             Activation activation = Activation::identity) {
  return {height,       width,  channels, filters,   kernel_height,
          kernel_width, stride, padding,  activation};
}

/// Sizes on both sides of a register, of the registers of a tile, of the taps and positions that
/// are taken at once, and of the picture's own.
std::vector<Convolution2dOptions> shapes() {
  const Padding same = Padding::same;
  return {
      options(1, 1, 1, 1, 1, 1),
      options(7, 5, 3, 4, 3, 2),
      options(36, 36, 1, 10, 5, 5),
      options(16, 16, 10, 20, 5, 5),
      options(9, 8, 8, 8, 1, 1),
      options(6, 30, 2, 33, 3, 4),
      options(5, 9, 70, 7, 3, 3),  // more taps than are taken at once
      options(4, 5, 300, 3, 2, 1),
      options(8, 7, 16, 25, 4, 4, 3),
      options(9, 9, 1, 2, 3, 3, 2),
      options(10, 10, 4, 6, 2, 2, 3),  // what lies between windows is seen by no filter
      options(7, 6, 3, 5, 3, 3, 1, same),
      options(6, 7, 2, 9, 4, 2, 1, same),
      options(9, 8, 3, 4, 3, 5, 2, same),
      options(7, 8, 2, 3, 1, 1, 2, same),
      options(2, 3, 4, 5, 5, 7, 1, same),  // a kernel larger than the picture
      options(12, 12, 9, 13, 3, 3, 1, same),
  };
}

Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }

}  // namespace

TEMPLATE_TEST_CASE("a convolution and its gradients are the formula", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-13 : 2e-5;
  for (const auto& o : shapes()) {
    CAPTURE(o.height, o.width, o.channels, o.filters, o.kernel_height, o.kernel_width, o.stride,
            o.padding == Padding::same);
    Convolution2d<S> layer(o, RandomKey(1));
    test::parameter(layer, "bias") = random_matrix<S>(o.filters, 1, 2);
    const bool same = o.padding == Padding::same;
    REQUIRE(layer.output_height() ==
            ceil_div(same ? o.height : o.height - o.kernel_height + 1, o.stride));
    REQUIRE(layer.output_width() ==
            ceil_div(same ? o.width : o.width - o.kernel_width + 1, o.stride));
    REQUIRE(layer.output_dim() == layer.output_height() * layer.output_width() * o.filters);
    for (const Index pictures : {0, 1, 3}) {
      const Matrix<S> x = random_matrix<S>(layer.input_dim(), pictures, 3);
      const Matrix<S> dy = random_matrix<S>(layer.output_dim(), pictures, 4);
      const test::DirectConvolution<S> direct{layer};
      Pass pass(layer);
      Matrix<S> y = Matrix<S>::Constant(layer.output_dim(), pictures, S(8)), predicted = y;
      layer.forward(x, y, RandomKey(0), pass);
      CHECK(test::relative_error(y, direct.forward(x)) <= tolerance);
      layer.predict(x, predicted, pass);
      CHECK(test::same_bits(predicted, y));

      const Matrix<S> dy_before = dy;
      Matrix<S> dx = Matrix<S>::Ones(layer.input_dim(), pictures);
      layer.backward(x, y, dy, dx, pass);
      const Matrix<S> expected_dx = direct.input_gradient(dy).array() + S(1);
      CHECK(test::relative_error(dx, expected_dx) <= tolerance);
      CHECK(test::same_bits(dy, dy_before));
      CHECK(test::relative_error(test::gradient(layer, pass, "weight"),
                                 direct.weight_gradient(x, dy)) <= tolerance);
      CHECK(test::relative_error(test::gradient(layer, pass, "bias"), direct.bias_gradient(dy)) <=
            tolerance);
      // Gradients are added to, and are the same if that by the pictures is not wanted.
      const auto once = test::gradients_of(layer, pass);
      layer.backward(x, y, dy, no_gradient, pass);
      auto twice = test::gradients_of(layer, pass);
      for (std::size_t i = 0; i < twice.size(); ++i)
        CHECK(twice[i] == Approx(2 * once[i]).epsilon(1e-5).margin(1e-6));
    }
  }
}

TEST_CASE("a convolution's gradients agree with finite differences", "[gradient]") {
  for (const Activation activation :
       {Activation::identity, Activation::relu, Activation::gelu, Activation::silu})
    for (const Padding padding : {Padding::valid, Padding::same})
      for (const Index stride : {1, 2}) {
        CAPTURE(int(activation), int(padding), stride);
        Convolution2d<double> layer(options(5, 4, 2, 3, 3, 2, stride, padding, activation),
                                    RandomKey(1));
        test::parameter(layer, "bias") = random_matrix<double>(3, 1, 5);
        CHECK(test::check_layer_gradients(layer, random_matrix<double>(40, 2, 2)) ==
              3 * 2 * 2 * 3 + 3 + 2 * 40);
      }
}

TEST_CASE("activations of a convolution are those of its sums") {
  const Matrix<double> x = random_matrix<double>(6 * 6 * 2, 3, 1);
  const Convolution2d<double> plain(options(6, 6, 2, 5, 3, 3), RandomKey(1));
  const Matrix<double> z = test::DirectConvolution<double>{plain}.forward(x);
  const auto expect = [&](Activation activation, auto f) {
    CAPTURE(int(activation));
    const Convolution2d<double> layer(options(6, 6, 2, 5, 3, 3, 1, Padding::valid, activation),
                                      RandomKey(1));
    Pass pass(layer);
    Matrix<double> y(layer.output_dim(), 3);
    layer.predict(x, y, pass);
    CHECK(test::relative_error(y, Matrix<double>(z.unaryExpr(f))) <= 1e-13);
  };
  expect(Activation::relu, [](double v) { return v > 0 ? v : 0; });
  expect(Activation::gelu, [](double v) { return v * 0.5 * std::erfc(-v / std::sqrt(2.0)); });
  expect(Activation::silu, [](double v) { return v / (1 + std::exp(-v)); });
}

TEST_CASE("a picture's bits depend neither on its batch nor on the threads; no allocation") {
  const auto activation = GENERATE(Activation::relu, Activation::gelu);
  const auto padding = GENERATE(Padding::valid, Padding::same);
  CAPTURE(int(activation), int(padding));
  const Convolution2d<float> layer(options(12, 13, 3, 14, 3, 3, 1, padding, activation),
                                   RandomKey(1));
  test::check_layer_bits(layer, 70, {0, 33, 69});
}

TEST_CASE("predict() between forward() and backward() changes nothing") {
  const Convolution2d<float> layer(options(6, 6, 2, 3, 3, 3, 1, Padding::same, Activation::silu),
                                   RandomKey(1));
  const Matrix<float> x = random_matrix<float>(72, 4, 1), other = random_matrix<float>(72, 4, 2);
  const Matrix<float> dy = random_matrix<float>(layer.output_dim(), 4, 3);
  const auto gradients = [&](bool predicts) {
    Pass pass(layer);
    Matrix<float> y(layer.output_dim(), 4), predicted = y;
    layer.forward(x, y, RandomKey(0), pass);
    if (predicts) layer.predict(other, predicted, pass);
    layer.backward(x, y, dy, no_gradient, pass);
    return test::gradients_of(layer, pass);
  };
  CHECK(test::same_bits(gradients(true), gradients(false)));
}

TEST_CASE("a convolution that keeps nothing goes back without a forward()") {
  const Convolution2d<float> layer(options(6, 6, 2, 3, 3, 3, 1, Padding::valid, Activation::relu),
                                   RandomKey(1));
  const Matrix<float> x = random_matrix<float>(72, 4, 1);
  const Matrix<float> dy = random_matrix<float>(layer.output_dim(), 4, 3);
  Matrix<float> y(layer.output_dim(), 4), dx = Matrix<float>::Zero(72, 4), expected_dx = dx;
  Pass pass(layer), predicted(layer);
  layer.forward(x, y, RandomKey(0), pass);
  layer.backward(x, y, dy, expected_dx, pass);
  layer.predict(x, y, predicted);
  layer.backward(x, y, dy, dx, predicted);
  CHECK(test::same_bits(dx, expected_dx));
  CHECK(test::same_bits(test::gradients_of(layer, predicted), test::gradients_of(layer, pass)));
}

TEST_CASE("weights begin as Glorot's, of shape [filters, kernel height, kernel width, channels]") {
  const Convolution2d<double> layer(options(9, 9, 4, 6, 3, 2), RandomKey(1));
  CHECK(layer.weight().shape() == std::vector<Index>{6, 3, 2, 4});
  CHECK(layer.bias().shape() == std::vector<Index>{6});
  const double bound = std::sqrt(6.0 / (3 * 2 * (4 + 6)));
  CHECK(layer.weight().cwiseAbs().maxCoeff() <= bound);
  CHECK(layer.weight().cwiseAbs().maxCoeff() > 0.9 * bound);
  CHECK(layer.bias().isZero(0));
  CHECK(layer.cost() == 7 * 8 * 24 * 6);
}

TEST_CASE("a convolution refuses wrong sizes") {
  const auto message = [](auto change) {
    Convolution2dOptions o = options(4, 5, 1, 2, 3, 3);
    change(o);
    try {
      Convolution2d<float>(o, RandomKey(0));
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string("nothing thrown");
  };
  using O = Convolution2dOptions;
  CHECK(message([](O& o) { o.height = 0; }) ==
        "comet::Convolution2d: height is 0, expected at least 1");
  CHECK(message([](O& o) { o.width = -1; }) ==
        "comet::Convolution2d: width is -1, expected at least 1");
  CHECK(message([](O& o) { o.channels = 0; }) ==
        "comet::Convolution2d: channels is 0, expected at least 1");
  CHECK(message([](O& o) { o.filters = 0; }) ==
        "comet::Convolution2d: filters is 0, expected at least 1");
  CHECK(message([](O& o) { o.kernel_height = 0; }) ==
        "comet::Convolution2d: kernel_height is 0, expected at least 1");
  CHECK(message([](O& o) { o.kernel_width = 0; }) ==
        "comet::Convolution2d: kernel_width is 0, expected at least 1");
  CHECK(message([](O& o) { o.stride = 0; }) ==
        "comet::Convolution2d: stride is 0, expected at least 1");
  CHECK(message([](O& o) { o.kernel_height = 5; }) ==
        "comet::Convolution2d: kernel_height is 5, expected at most height = 4");
  CHECK(message([](O& o) { o.kernel_width = 6; }) ==
        "comet::Convolution2d: kernel_width is 6, expected at most width = 5");

  // Sizes whose product would wrap around.
  constexpr Index much = Index(1) << 40;
  const std::string factor = std::to_string(much);
  CHECK(message([](O& o) { o.height = o.width = much; }) ==
        "comet::Convolution2d: height * width * channels is " + factor + " * " + factor +
            " * 1, expected below 2^60");
  CHECK(message([](O& o) {
          o.padding = Padding::same;
          o.kernel_height = o.kernel_width = much;
        }) == "comet::Convolution2d: filters * kernel_height * kernel_width * channels is 2 * " +
                  factor + " * " + factor + " * 1, expected below 2^60");
  CHECK(message([](O& o) {
          o.padding = Padding::same;
          o.kernel_height = much;
          o.kernel_width = 3;
          o.width = much;
        }) == "comet::Convolution2d: the padded height * width * channels is " +
                  std::to_string(much + 3) + " * " + std::to_string(much + 2) +
                  " * 1, expected below 2^60");
  CHECK(message([](O& o) {
          o.height = o.width = 1 << 20;
          o.filters = much;
        }) ==
        "comet::Convolution2d: output_height * output_width * filters is 1048574 * 1048574 "
        "* " +
            factor + ", expected below 2^60");
  CHECK(message([](O& o) { o.stride = std::numeric_limits<Index>::max(); }) ==
        "comet::Convolution2d: stride * channels is 9223372036854775807 * 1, expected below 2^60");

  const Convolution2d<float> layer(options(4, 5, 1, 2, 3, 3, 1, Padding::valid, Activation::silu),
                                   RandomKey(0));
  Pass pass(layer);
  const Matrix<float> x = Matrix<float>::Zero(20, 4);
  Matrix<float> y(12, 4), dy(12, 4), short_y(12, 3), tall_y(13, 4), dx(20, 4);
  CHECK_THROWS_WITH(layer.forward(Matrix<float>::Zero(2, 4), y, RandomKey(0), pass),
                    "comet::Convolution2d::forward: x.rows() is 2, expected input_dim = 20");
  CHECK_THROWS_WITH(layer.predict(x, tall_y, pass),
                    "comet::Convolution2d::predict: y.rows() is 13, expected output_dim = 12");
  CHECK_THROWS_WITH(layer.backward(x, y, short_y, dx, pass),
                    "comet::Convolution2d::backward: dy.cols() is 3, expected x.cols() = 4");
  CHECK_THROWS_WITH(layer.backward(x, y, dy, dx.leftCols(3), pass),
                    "comet::Convolution2d::backward: dx.cols() is 3, expected x.cols() = 4");
  CHECK_THROWS_WITH(
      layer.backward(x, y, dy, dx, pass),
      "comet::Convolution2d::backward: the pass holds no forward() of this batch; call it first");
}
