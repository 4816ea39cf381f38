// SPDX-License-Identifier: MIT
#include <comet/gates/detail/logit_gradients.hpp>
#include <comet/gates/detail/tiles.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

Hyperplanes<double> bank() {
  Hyperplanes<double> planes(5, 21);
  planes.initialize(1.0, RandomKey(1));
  return planes;
}

}  // namespace

TEST_CASE("sparse derivatives by logits give the gradients of the dense product") {
  const Index samples = 37;
  const Matrix<double> x = random_matrix<double>(5, samples, 2);
  detail::LogitGradients<double> gradients;
  for (int repeat = 0; repeat < 2; ++repeat) {  // the second time on used scratch
    const Hyperplanes<double> planes = bank();
    Gradients<double> sums(planes);
    Matrix<double> by_logit = Matrix<double>::Zero(21, samples);
    gradients.start(4);
    const RandomKey key(3);
    std::uint64_t counter = 0;
    for (Index b = 0; b < samples; ++b)
      for (Index h = 0; h < 21; ++h) {
        if (h % 5 == 1 || key.uniform(counter++) < 0.6) continue;  // some have none at all
        by_logit(h, b) = key.uniform(counter++, -1, 1);
        gradients.add(b / 10, h, b, by_logit(h, b));
      }
    Matrix<double> dx = Matrix<double>::Ones(5, samples);
    gradients.apply(planes, sums, x, dx, nullptr);
    const Matrix<double> expected_dx =
        Matrix<double>::Ones(5, samples) + planes.weight() * by_logit;
    CHECK(test::relative_error(dx, expected_dx) <= 1e-13);
    CHECK(test::relative_error(sums[0], Matrix<double>(x * by_logit.transpose())) <= 1e-13);
    CHECK(test::relative_error(sums[1], Matrix<double>(by_logit.rowwise().sum())) <= 1e-13);
  }
}

TEST_CASE("a plane learns from a million samples as from few, in float too") {
  const Index samples = 1'000'000;
  Hyperplanes<float> planes(3, 1);
  Gradients<float> sums(planes);
  detail::LogitGradients<float> gradients;
  gradients.start(1);
  for (Index b = 0; b < samples; ++b) gradients.add(0, 0, b, 1e-6F);
  gradients.apply(planes, sums, Matrix<float>::Ones(3, samples), no_gradient, nullptr);
  CHECK(sums[1](0, 0) == Approx(1).epsilon(2e-4));
  for (Index f = 0; f < 3; ++f) CHECK(sums[0](f, 0) == Approx(1).epsilon(2e-4));
}

TEST_CASE("no derivatives at all leave no gradient") {
  const Hyperplanes<double> planes = bank();
  Gradients<double> sums(planes);
  detail::LogitGradients<double> gradients;
  gradients.start(1);
  gradients.add(0, 3, 0, 0.0);
  Matrix<double> dx = Matrix<double>::Zero(5, 1);
  gradients.apply(planes, sums, random_matrix<double>(5, 1, 1), dx, nullptr);
  for (const double g : sums.values()) CHECK(g == 0.0);
  CHECK(dx.isZero(0));
}

TEST_CASE("tiles cover a batch") {
  CHECK(detail::num_tiles(0) == 0);
  CHECK(detail::num_tiles(1) == 1);
  CHECK(detail::num_tiles(detail::samples_per_tile) == 1);
  CHECK(detail::num_tiles(detail::samples_per_tile + 1) == 2);
}
