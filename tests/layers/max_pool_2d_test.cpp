// SPDX-License-Identifier: MIT
#include <comet/core/concepts.hpp>
#include <comet/layers/max_pool_2d.hpp>

#include <support/catch.hpp>
#include <support/layer_checks.hpp>
#include <support/model.hpp>

#include <vector>

using namespace comet;
using comet::test::random_matrix;

static_assert(ColumnFunction<MaxPool2d<float>>);

namespace {

/// y and dx one number at a time.
template <class S>
struct DirectPool {
  const MaxPool2d<S>& layer;
  const Matrix<S>& x;

  /// f(place in y, place in x of the first of the largest, column)
  template <class F>
  void for_each_output(F&& f) const {
    const auto& o = layer.options();
    for (Index b = 0; b < x.cols(); ++b)
      for (Index i = 0; i < layer.output_height(); ++i)
        for (Index j = 0; j < layer.output_width(); ++j)
          for (Index c = 0; c < o.channels; ++c) {
            const auto place = [&](Index u, Index v) {
              return ((i * o.stride + u) * o.width + j * o.stride + v) * o.channels + c;
            };
            Index best = place(0, 0);
            for (Index u = 0; u < o.pool; ++u)
              for (Index v = 0; v < o.pool; ++v)
                if (x(place(u, v), b) > x(best, b)) best = place(u, v);
            f((i * layer.output_width() + j) * o.channels + c, best, b);
          }
  }
  [[nodiscard]] Matrix<S> forward() const {
    Matrix<S> y(layer.output_dim(), x.cols());
    for_each_output([&](Index to, Index from, Index b) { y(to, b) = x(from, b); });
    return y;
  }
  [[nodiscard]] Matrix<S> backward(const Matrix<S>& dy) const {
    Matrix<S> dx = Matrix<S>::Zero(x.rows(), x.cols());
    for_each_output([&](Index to, Index from, Index b) { dx(from, b) += dy(to, b); });
    return dx;
  }
};

std::vector<MaxPool2dOptions> shapes() {
  return {{1, 1, 1, 1, 0}, {4, 6, 1, 2, 0},  {5, 7, 10, 2, 0}, {32, 32, 10, 2, 0}, {7, 8, 3, 3, 1},
          {9, 9, 8, 3, 2}, {8, 6, 17, 2, 3}, {4, 4, 4, 4, 0},  {6, 5, 9, 1, 2}};
}

}  // namespace

TEMPLATE_TEST_CASE("max pooling and its gradient are the formula, ties included", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  for (const auto& o : shapes())
    for (const bool ties : {false, true}) {
      CAPTURE(o.height, o.width, o.channels, o.pool, o.stride, ties);
      const MaxPool2d<S> layer(o);
      REQUIRE(layer.options().stride == (o.stride > 0 ? o.stride : o.pool));
      Index rows = 0, columns = 0;
      for (Index i = 0; i + o.pool <= o.height; i += layer.options().stride) ++rows;
      for (Index j = 0; j + o.pool <= o.width; j += layer.options().stride) ++columns;
      REQUIRE(layer.output_height() == rows);
      REQUIRE(layer.output_width() == columns);
      Matrix<S> x = random_matrix<S>(layer.input_dim(), 3, 1);
      if (ties) x = (x * S(2)).array().round();  // -2..2: most windows have several largest
      const Matrix<S> dy = random_matrix<S>(layer.output_dim(), 3, 2);
      Pass pass(layer);
      Matrix<S> y = Matrix<S>::Constant(layer.output_dim(), 3, S(9)), predicted = y;
      layer.forward(x, y, RandomKey(0), pass);
      layer.predict(x, predicted, pass);
      const DirectPool<S> direct{layer, x};
      CHECK(y == direct.forward());
      CHECK(predicted == y);
      Matrix<S> dx = Matrix<S>::Zero(x.rows(), 3);
      layer.backward(x, y, dy, dx, pass);
      CHECK((dx - direct.backward(dy)).cwiseAbs().maxCoeff() <= S(1e-6));
      const Matrix<S> once = dx;
      layer.backward(x, y, dy, dx, pass);
      CHECK((dx - S(2) * once).cwiseAbs().maxCoeff() <= S(1e-6));
      CHECK_NOTHROW(layer.backward(x, y, dy, no_gradient, pass));
    }
}

TEST_CASE("of equal values the first, row by row, has the gradient") {
  const MaxPool2d<double> layer({.height = 2, .width = 4, .channels = 1});
  Matrix<double> x(8, 1), y(2, 1), dx = Matrix<double>::Zero(8, 1), dy(2, 1), expected(8, 1);
  x << 1, 3, 0, 0,  //
      3, 3, 0, 0;
  dy << 5, 7;
  expected << 0, 5, 7, 0,  //
      0, 0, 0, 0;
  Pass pass(layer);
  layer.forward(x, y, RandomKey(0), pass);
  layer.backward(x, y, dy, dx, pass);
  CHECK(dx == expected);
}

TEST_CASE("the gradient of max pooling agrees with finite differences", "[gradient]") {
  for (const auto& o : {MaxPool2dOptions{4, 6, 3}, MaxPool2dOptions{5, 5, 2, 3, 1}}) {
    const MaxPool2d<double> layer(o);
    CHECK(test::check_layer_gradients(layer, random_matrix<double>(layer.input_dim(), 2, 2)) ==
          2 * layer.input_dim());
  }
}

TEST_CASE("max pooling gives the same bits for any number of threads, and allocates nothing") {
  const MaxPool2d<float> layer({.height = 33, .width = 20, .channels = 11, .pool = 3, .stride = 2});
  test::check_layer_bits(layer, 150, {0, 77, 149});
}

TEST_CASE("max pooling refuses wrong sizes") {
  const auto make = [](MaxPool2dOptions o) { return MaxPool2d<float>(o); };
  CHECK_THROWS_WITH(make({1, 4, 1}), "comet::MaxPool2d: height is 1, expected at least 2");
  CHECK_THROWS_WITH(make({4, 2, 1, 3}), "comet::MaxPool2d: width is 2, expected at least 3");
  CHECK_THROWS_WITH(make({4, 4, 0}), "comet::MaxPool2d: channels is 0, expected at least 1");
  CHECK_THROWS_WITH(make({4, 4, 1, 0}), "comet::MaxPool2d: pool is 0, expected at least 1");
  CHECK_THROWS_WITH(make({4, 4, 1, 2, -1}), "comet::MaxPool2d: stride is -1, expected at least 0");
  const Index much = Index(1) << 40;
  CHECK_THROWS_WITH(make({much, much, 1}),
                    "comet::MaxPool2d: height * width * channels is 1099511627776 * 1099511627776 "
                    "* 1, expected below 2^60");
  CHECK_THROWS_WITH(make({much, 1 << 20, 1}),
                    "comet::MaxPool2d: height * width * channels is 1099511627776 * 1048576 * 1, "
                    "expected below 2^60");
  CHECK(make({much, 1 << 19, 1}).input_dim() == Index(1) << 59);
  const MaxPool2d<float> layer({4, 4, 1});
  Pass pass(layer);
  const Matrix<float> x = Matrix<float>::Zero(16, 2);
  Matrix<float> y(4, 2), wrong(3, 2);
  CHECK_THROWS_WITH(layer.predict(x, wrong, pass),
                    "comet::MaxPool2d::predict: y.rows() is 3, expected output_dim = 4");
  CHECK_THROWS_WITH(layer.forward(x, wrong, RandomKey(0), pass),
                    "comet::MaxPool2d::forward: y.rows() is 3, expected output_dim = 4");
  CHECK_THROWS_WITH(layer.backward(x, y, wrong, no_gradient, pass),
                    "comet::MaxPool2d::backward: dy.rows() is 3, expected output_dim = 4");
}
