// SPDX-License-Identifier: MIT
#include <comet/layers/dense.hpp>

#include <support/allocation_counter.hpp>
#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/layer_checks.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

TEST_CASE("a dense layer's gradients agree with finite differences", "[gradient]") {
  for (const Activation activation :
       {Activation::identity, Activation::relu, Activation::gelu, Activation::silu})
    for (const Index m : {1, 4})
      for (const Index samples : {1, 7}) {
        CAPTURE(int(activation), m, samples);
        Dense<double> layer({.input_dim = 3, .output_dim = m, .activation = activation},
                            RandomKey(1));
        test::parameter(layer, "bias") = random_matrix<double>(m, 1, 5);
        CHECK(test::check_layer_gradients(layer, random_matrix<double>(3, samples, 2)) ==
              4 * m + 3 * samples);
      }
}

TEMPLATE_TEST_CASE("a dense layer is the formula, for ragged batches too", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-13 : 1e-5;
  for (const Index samples : {0, 1, 3, 4, 5, 130}) {
    CAPTURE(samples);
    Dense<S> layer({.input_dim = 6, .output_dim = 5, .activation = Activation::relu}, RandomKey(1));
    test::parameter(layer, "bias") = random_matrix<S>(5, 1, 2);
    Pass pass(layer);
    const Matrix<S> x = random_matrix<S>(6, samples, 3), dy = random_matrix<S>(5, samples, 4);
    Matrix<S> y = Matrix<S>::Constant(5, samples, S(8));
    layer.forward(x, y, RandomKey(0), pass);
    const Matrix<S> z = (layer.weight().transpose() * x).colwise() + Vector<S>(layer.bias().col(0));
    CHECK(test::relative_error(y, Matrix<S>(z.cwiseMax(S(0)))) <= tolerance);

    const Matrix<S> dz = (z.array() > S(0)).select(dy.array(), S(0));
    const Matrix<S> dy_before = dy;
    Matrix<S> dx = Matrix<S>::Ones(6, samples), predicted(5, samples);
    layer.backward(x, y, dy, dx, pass);
    CHECK(test::relative_error(dx, Matrix<S>(Matrix<S>::Ones(6, samples) + layer.weight() * dz)) <=
          tolerance);
    CHECK(test::same_bits(dy, dy_before));  // inputs are left alone
    CHECK(test::relative_error(test::gradient(layer, pass, "weight"),
                               Matrix<S>(x * dz.transpose())) <= tolerance);
    CHECK(test::relative_error(test::gradient(layer, pass, "bias"),
                               Matrix<S>(dz.rowwise().sum())) <= tolerance);
    const auto gradients = test::gradients_of(layer, pass);
    test::clear_gradients(layer, pass);
    layer.backward(x, y, dy, no_gradient, pass);
    CHECK(test::same_bits(test::gradients_of(layer, pass), gradients));
    layer.predict(x, predicted, pass);
    CHECK(test::same_bits(predicted, y));
  }
}

TEST_CASE("a dense layer gives the same bits for any number of threads, and allocates nothing") {
  const auto activation = GENERATE(Activation::relu, Activation::gelu, Activation::silu);
  const Dense<float> layer({.input_dim = 96, .output_dim = 200, .activation = activation},
                           RandomKey(1));
  const Matrix<float> x = random_matrix<float>(96, 300, 2), dy = random_matrix<float>(200, 300, 3);
  Matrix<float> y(200, 300), expected_y, expected_dx;
  std::vector<float> expected;
  for (const Index threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    Pass pass(layer, &pool);
    Matrix<float> dx = Matrix<float>::Zero(96, 300);
    const auto step = [&] {
      layer.forward(x, y, RandomKey(0), pass);
      layer.backward(x, y, dy, dx, pass);
    };
    step();
    if (threads == 1) {
      expected_y = y;
      expected_dx = dx;
      expected = test::gradients_of(layer, pass);
    }
    CHECK(test::same_bits(y, expected_y));
    Matrix<float> predicted(200, 300), alone(200, 1);
    layer.predict(x, predicted, pass);
    layer.predict(x.col(131), alone, pass);
    CHECK(test::same_bits(predicted, expected_y));
    CHECK(test::same_bits(alone, expected_y.col(131)));
    CHECK(test::same_bits(dx, expected_dx));
    CHECK(test::same_bits(test::gradients_of(layer, pass), expected));
    if (test::can_count_allocations) CHECK(test::count_allocations(step) == 0);
  }
}

TEST_CASE("a dense layer that keeps nothing goes back without a forward()") {
  const Dense<float> layer({.input_dim = 6, .output_dim = 5, .activation = Activation::relu},
                           RandomKey(1));
  const Matrix<float> x = random_matrix<float>(6, 200, 1), dy = random_matrix<float>(5, 200, 3);
  Matrix<float> y(5, 200), dx = Matrix<float>::Zero(6, 200), expected_dx = dx;
  Pass pass(layer), predicted(layer);
  layer.forward(x, y, RandomKey(0), pass);
  layer.backward(x, y, dy, expected_dx, pass);
  layer.predict(x, y, predicted);
  layer.backward(x, y, dy, dx, predicted);
  CHECK(test::same_bits(dx, expected_dx));
  CHECK(test::same_bits(test::gradients_of(layer, predicted), test::gradients_of(layer, pass)));
}

TEST_CASE("a dense layer refuses wrong sizes") {
  CHECK_THROWS_WITH(Dense<float>({.input_dim = 0, .output_dim = 1}, RandomKey(0)),
                    "comet::Dense: input_dim is 0, expected at least 1");
  CHECK_THROWS_WITH(Dense<float>({.input_dim = 1, .output_dim = 0}, RandomKey(0)),
                    "comet::Dense: output_dim is 0, expected at least 1");
  Dense<float> layer({.input_dim = 3, .output_dim = 2}, RandomKey(0));
  Pass pass(layer);
  const Matrix<float> x = Matrix<float>::Zero(3, 4);
  Matrix<float> y(2, 4), dy(2, 4), short_y(2, 3), tall_y(3, 4), dx(3, 4);
  CHECK_THROWS_WITH(layer.forward(Matrix<float>::Zero(2, 4), y, RandomKey(0), pass),
                    "comet::Dense::forward: x.rows() is 2, expected input_dim = 3");
  CHECK_THROWS_WITH(layer.forward(x, tall_y, RandomKey(0), pass),
                    "comet::Dense::forward: y.rows() is 3, expected output_dim = 2");
  CHECK_THROWS_WITH(layer.forward(x, short_y, RandomKey(0), pass),
                    "comet::Dense::forward: y.cols() is 3, expected x.cols() = 4");
  CHECK_THROWS_WITH(layer.predict(x, short_y, pass),
                    "comet::Dense::predict: y.cols() is 3, expected x.cols() = 4");
  CHECK_THROWS_WITH(layer.backward(x, y, short_y, dx, pass),
                    "comet::Dense::backward: dy.cols() is 3, expected x.cols() = 4");
  CHECK_THROWS_WITH(layer.backward(x, short_y, dy, dx, pass),
                    "comet::Dense::backward: y.cols() is 3, expected x.cols() = 4");
  CHECK_THROWS_WITH(layer.backward(x, y, dy, tall_y.topRows(2), pass),
                    "comet::Dense::backward: dx.rows() is 2, expected x.rows() = 3");
  // A unit would be written before others have read the input.
  const Dense<float> square({.input_dim = 3, .output_dim = 3}, RandomKey(0));
  Pass square_pass(square);
  Matrix<float> both(3, 4);
  CHECK_THROWS_WITH(square.predict(both, both, square_pass),
                    "comet::Dense::predict: y overlaps x, expected memory of its own");
  CHECK_THROWS_WITH(square.forward(both.leftCols(3), both.rightCols(3), RandomKey(0), square_pass),
                    "comet::Dense::forward: y overlaps x, expected memory of its own");
  CHECK_THROWS_WITH(layer.backward(both, y, dy, both, pass),
                    "comet::Dense::backward: dx overlaps x, expected memory of its own");
  CHECK_THROWS_WITH(layer.backward(x, y, both.topRows(2), both, pass),
                    "comet::Dense::backward: dx overlaps dy, expected memory of its own");
  // The derivative of a smooth activation comes from forward().
  const Dense<float> smooth({.input_dim = 3, .output_dim = 2, .activation = Activation::gelu},
                            RandomKey(0));
  Pass smooth_pass(smooth);
  smooth.predict(x, y, smooth_pass);
  const char* no_forward =
      "comet::Dense::backward: the pass holds no forward() of this batch; call it first";
  CHECK_THROWS_WITH(smooth.backward(x, y, dy, dx, smooth_pass), no_forward);
  smooth.forward(x.leftCols(3), short_y, RandomKey(0), smooth_pass);
  CHECK_THROWS_WITH(smooth.backward(x, y, dy, dx, smooth_pass), no_forward);
  // Nor does that of another layer fit, whose pass this is.
  const Dense<float> wider({.input_dim = 3, .output_dim = 5, .activation = Activation::gelu},
                           RandomKey(0));
  Matrix<float> wide_y(5, 4);
  smooth.forward(x, y, RandomKey(0), smooth_pass);
  CHECK_THROWS_WITH(wider.backward(x, wide_y, Matrix<float>(5, 4), dx, smooth_pass), no_forward);
}
