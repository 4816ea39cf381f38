// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

#include <comet/core/samples.hpp>

#include <support/allocation_counter.hpp>
#include <support/catch.hpp>
#include <support/model.hpp>

using comet::Index;
using comet::LiveSamples;
using comet::Matrix;
using comet::NotFinite;
using comet::Samples;
using comet::test::random_matrix;

namespace {

double sum_of(const Samples<double>& samples) { return samples.features.sum(); }

}  // namespace

TEST_CASE("samples come from any matrix, block, map or expression") {
  Matrix<double> x = random_matrix<double>(3, 5, 1);
  CHECK(sum_of(x) == x.sum());
  CHECK(sum_of(x.middleCols(1, 2)) == Approx(x.middleCols(1, 2).sum()));
  CHECK(sum_of(2 * x) == Approx(2 * x.sum()));
  CHECK(sum_of(Eigen::Map<const Matrix<double>>(x.data(), 3, 4)) == Approx(x.leftCols(4).sum()));
  CHECK(sum_of(comet::ConstMatrixView<double>(x)) == x.sum());
  // It is a view.
  const Samples samples(x);
  static_assert(std::is_same_v<decltype(samples), const Samples<double>>);
  x(0, 0) += 1;
  CHECK(samples.features(0, 0) == x(0, 0));
  CHECK(samples.size() == 5);
  CHECK(samples.dim() == 3);
  CHECK(samples.is_live(4));
}

TEST_CASE("ids and a mask travel with the features") {
  const Matrix<float> x = random_matrix<float>(2, 3, 1);
  const std::vector<std::int32_t> ids = {7, 8, 9};
  const std::vector<std::uint8_t> mask = {1, 0, 1};
  const Samples samples{x, ids, mask};
  CHECK(samples.ids[2] == 9);
  CHECK(samples.is_live(0));
  CHECK_FALSE(samples.is_live(1));
  CHECK_NOTHROW(samples.validate("f"));
  CHECK_NOTHROW(samples.validate("f", 2));
  const Samples masked{x, {}, mask};
  CHECK(masked.ids.empty());
  CHECK_NOTHROW(masked.validate("f"));
}

TEST_CASE("sizes that differ and features that are not finite are named; masked ones may be") {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  Matrix<double> x = Matrix<double>::Ones(2, 3);
  const std::vector<std::int32_t> two = {7, 8};
  const std::vector<std::uint8_t> four(4, 1);
  CHECK_THROWS_WITH(Samples(x).validate("f", 4), "comet::f: x.rows() is 2, expected input_dim = 4");
  CHECK_THROWS_WITH((Samples{x, two}.validate("f")),
                    "comet::f: samples.ids.size() is 2, expected x.cols() = 3");
  CHECK_THROWS_WITH((Samples{x, {}, four}.validate("f")),
                    "comet::f: samples.mask.size() is 4, expected x.cols() = 3");
  x(1, 2) = nan;
  x(0, 1) = -inf;
  CHECK_THROWS_WITH(Samples(x).validate("f"),
                    "comet::f: x(0, 1) is -inf, expected a finite number");
  CHECK_THROWS_AS(Samples(x).validate("f"), NotFinite);
  std::vector<std::uint8_t> mask = {1, 0, 1};
  CHECK_THROWS_WITH((Samples{x, {}, mask}.validate("f")),
                    "comet::f: x(1, 2) is nan, expected a finite number");
  mask[2] = 0;
  CHECK_NOTHROW(Samples{x, {}, mask}.validate("f"));
}

TEST_CASE("the samples that are no padding are listed in order") {
  const Matrix<double> x = random_matrix<double>(2, 6, 1);
  LiveSamples live;
  live.assign(Samples(x));
  CHECK_FALSE(live.masked());
  CHECK(live.size() == 6);
  CHECK(live[4] == 4);
  std::vector<std::uint8_t> mask = {0, 1, 0, 0, 1, 1};
  const Samples masked{x, {}, mask};
  live.assign(masked);
  CHECK(live.masked());
  REQUIRE(live.size() == 3);
  CHECK(live[0] == 1);
  CHECK(live[1] == 4);
  CHECK(live[2] == 5);
  if (comet::test::can_count_allocations)
    CHECK(comet::test::count_allocations([&] { live.assign(masked); }) == 0);
  mask.assign(6, 0);
  live.assign(masked);
  CHECK(live.size() == 0);
}
