// SPDX-License-Identifier: MIT
#include <numeric>
#include <vector>

#include <comet/experts/dense.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

struct Tile {
  std::vector<SampleId> samples;
  explicit Tile(Index count) : samples(std::size_t(count)) {
    std::iota(samples.begin(), samples.end(), 0);
  }
  TrainingTile view(std::uint64_t key = 1) const { return {RandomKey(key), samples}; }
};

/// All of backward: columns first, then every slice of the parameters.
void backward(const DenseExpert<double>& expert, const Matrix<double>& x, const Matrix<double>& y,
              const Matrix<double>& upstream, MatrixView<double> dx, GradientView<double> gradients,
              Matrix<double>& cache) {
  Matrix<double> dy = upstream;
  expert.backward_columns(x, y, cache, dy, dx);
  for (Index slice = 0; slice < expert.num_slices(); ++slice)
    expert.accumulate_gradients(x, cache, dy, slice, gradients);
}

}  // namespace

TEST_CASE("a dense expert's gradients agree with finite differences", "[gradient]") {
  struct Case {
    Activation activation;
    double dropout;
    Index m;
  };
  for (const Case c : {Case{Activation::identity, 0.0, 5},
                       {Activation::relu, 0.0, 5},
                       {Activation::relu, 0.4, 5},
                       {Activation::relu, 0.4, detail::units_per_slice + 3},
                       {Activation::gelu, 0.0, 5},
                       {Activation::gelu, 0.4, 5},
                       {Activation::silu, 0.0, 5},
                       {Activation::silu, 0.4, 5},
                       {Activation::relu, 0.0, 1}}) {
    CAPTURE(int(c.activation), c.dropout, c.m);
    DenseExpert<double> expert(
        {.input_dim = 3, .output_dim = c.m, .activation = c.activation, .dropout = c.dropout},
        RandomKey(1));
    test::parameter(expert, "bias") = random_matrix<double>(c.m, 1, 5);
    test::WithInput model(expert, random_matrix<double>(3, 20, 2));
    const Matrix<double> upstream = random_matrix<double>(c.m, 20, 3);
    const Tile tile(20);
    Matrix<double> y(c.m, 20), cache(expert.cache_dim(), 20);
    const auto loss = [&] {
      expert.forward(model.x, y, cache, tile.view());
      return y.cwiseProduct(upstream).sum();
    };
    const auto result = testing::check_gradients(model, loss, [&](GradientView<double> gradients) {
      loss();
      backward(expert, model.x, y, upstream, model.of_input(gradients), model.of_part(gradients),
               cache);
    });
    INFO(result.where << ": " << result.analytic << " against " << result.numeric);
    CHECK(result.largest_error <= 1e-6);
    CHECK(result.num_checked == 4 * c.m + 60);
  }
}

TEST_CASE("dropout is for training, and goes by sample, not by column") {
  const DenseExpert<double> expert({.input_dim = 4, .output_dim = 50, .dropout = 0.5},
                                   RandomKey(1));
  const Matrix<double> x = random_matrix<double>(4, 20, 2);
  Matrix<double> cache(0, 20), y(50, 20), again(50, 20), other(50, 20), predicted(50, 20);
  const Tile tile(20);
  expert.predict(x, predicted, cache);
  expert.forward(x, y, cache, tile.view(1));
  expert.forward(x, again, cache, tile.view(1));
  expert.forward(x, other, cache, tile.view(2));
  CHECK(test::same_bits(y, again));
  CHECK_FALSE(test::same_bits(y, other));
  const double scale = detail::Dropout(0.5).scale<double>();
  CHECK(scale == 2.0);
  int kept = 0, live = 0;
  for (Index b = 0; b < 20; ++b)
    for (Index i = 0; i < 50; ++i) {
      const bool as_kept = y(i, b) == scale * predicted(i, b);
      CHECK((as_kept || y(i, b) == 0.0));
      live += predicted(i, b) > 0.0;
      kept += y(i, b) > 0.0;
    }
  CHECK(kept > live / 3);
  CHECK(kept < live * 2 / 3);

  // Samples 7 and 3 in columns 0 and 1 are dropped as in columns 7 and 3.
  Tile two(2);
  two.samples = {7, 3};
  Matrix<double> moved = Matrix<double>::Zero(4, 20);
  moved.col(0) = x.col(7);
  moved.col(1) = x.col(3);
  expert.forward(moved, again, cache, two.view(1));
  CHECK(test::same_bits(again.col(0), y.col(7)));
  CHECK(test::same_bits(again.col(1), y.col(3)));
}

TEST_CASE("a dense expert needs no dx to find its gradients, and adds to them") {
  const DenseExpert<double> expert({.input_dim = 3, .output_dim = 4}, RandomKey(1));
  const Matrix<double> x = random_matrix<double>(3, 8, 2),
                       upstream = random_matrix<double>(4, 8, 3);
  Matrix<double> y(4, 8), cache(0, 8), dx = Matrix<double>::Zero(3, 8);
  expert.predict(x, y, cache);
  Gradients gradients(expert);
  backward(expert, x, y, upstream, dx, gradients, cache);
  const auto once = test::values_of(gradients);
  const Matrix<double> dx_once = dx;
  backward(expert, x, y, upstream, no_gradient, gradients, cache);
  const auto twice = test::values_of(gradients);
  for (std::size_t i = 0; i < once.size(); ++i) CHECK(twice[i] == Approx(2 * once[i]));
  // Nor is dx overwritten.
  backward(expert, x, y, upstream, dx, gradients, cache);
  CHECK(dx.isApprox(2 * dx_once, 1e-12));
}

TEST_CASE("a dense expert starts within Glorot's bound, from its key alone") {
  const DenseExpertOptions options{.input_dim = 10, .output_dim = 14};
  DenseExpert<float> a(options, RandomKey(1)), b(options, RandomKey(1)), c(options, RandomKey(2));
  CHECK(test::same_bits(a.weight(), b.weight()));
  CHECK_FALSE(test::same_bits(a.weight(), c.weight()));
  CHECK(a.weight().cwiseAbs().maxCoeff() <= 0.5F);
  CHECK(a.weight().cwiseAbs().maxCoeff() > 0.4F);
  CHECK(a.bias().isZero(0));
  CHECK(a.input_dim() == 10);
  CHECK(a.output_dim() == 14);
  CHECK(a.cache_dim() == 0);
  CHECK(a.cost() == 140.0);
  CHECK(count_parameters(a) == 10 * 14 + 14);
}

TEST_CASE("a dense expert refuses what it cannot be") {
  const auto make = [](DenseExpertOptions options) {
    return DenseExpert<double>(options, RandomKey(0));
  };
  CHECK_THROWS_WITH(make({.input_dim = 0, .output_dim = 2}),
                    "comet::DenseExpert: input_dim is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 2, .output_dim = -2}),
                    "comet::DenseExpert: output_dim is -2, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 2, .output_dim = 2, .dropout = 1}),
                    "comet::DenseExpert: dropout is 1, expected in [0, 1)");
  CHECK_THROWS_WITH(
      make({.input_dim = 2, .output_dim = 2, .activation = Activation::identity, .dropout = 0.5}),
      "comet::DenseExpert: dropout is 0.5, expected 0 if the activation is identity");
}
