// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <comet/kernels/affine.hpp>
#include <comet/kernels/dropout.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

TEMPLATE_TEST_CASE("affine_forward is the formula", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-13 : 1e-5;
  for (const Index in : {1, 3, 20})
    for (const Index out : {1, 2, 9})
      for (const Activation activation : {Activation::identity, Activation::relu}) {
        const Matrix<S> w = random_matrix<S>(in, out, 1), bias = random_matrix<S>(out, 1, 2);
        const Matrix<S> x = random_matrix<S>(in, 20, 3);
        Matrix<S> y = Matrix<S>::Constant(out, 20, S(9));
        detail::affine_forward(w, bias, activation, x, y);
        Matrix<S> expected(out, 20);
        for (Index b = 0; b < 20; ++b)
          for (Index o = 0; o < out; ++o) {
            S sum = bias(o, 0);
            for (Index i = 0; i < in; ++i) sum += w(i, o) * x(i, b);
            expected(o, b) = activation == Activation::relu ? std::max(sum, S(0)) : sum;
          }
        CHECK(test::relative_error(y, expected) <= tolerance);
      }
}

TEST_CASE("slices of the weight gradient add up to the whole, whatever their order") {
  const Index in = 3, out = 2 * detail::units_per_slice + 5, width = 7;
  const Matrix<double> x = random_matrix<double>(in, width, 1);
  const Matrix<double> dz = random_matrix<double>(out, width, 2);
  Matrix<double> dw = Matrix<double>::Ones(in, out), db = Matrix<double>::Ones(out, 1);
  REQUIRE(detail::num_slices(out) == 3);
  CHECK(detail::num_slices(detail::units_per_slice) == 1);
  for (const Index slice : {2, 0, 1}) {
    const Index first = slice * detail::units_per_slice;
    detail::affine_accumulate(x, dz, first, std::min(detail::units_per_slice, out - first), dw, db);
  }
  CHECK(test::relative_error(
            dw, Matrix<double>(Matrix<double>::Ones(in, out) + x * dz.transpose())) <= 1e-13);
  CHECK(test::relative_error(
            db, Matrix<double>(Matrix<double>::Ones(out, 1) + dz.rowwise().sum())) <= 1e-13);
}

TEST_CASE("gradients of a million samples are sums of a million, in float too") {
  const Index samples = 1'000'000, in = 65, out = 3;
  Matrix<float> x = Matrix<float>::Constant(in, samples, 0.7F);
  const Matrix<float> dz = Matrix<float>::Constant(out, samples, 1e-6F);
  x.row(64).setConstant(-0.3F);
  Matrix<float> dw = Matrix<float>::Constant(in, out, 0.5F), db = dw.topRows(out).leftCols(1);
  detail::affine_accumulate(x, dz, 0, out, dw, db);
  for (Index o = 0; o < out; ++o) {
    CHECK(dw(0, o) == Approx(1.2).epsilon(2e-4));
    CHECK(dw(63, o) == Approx(1.2).epsilon(2e-4));
    CHECK(dw(64, o) == Approx(0.2).epsilon(2e-4));
    CHECK(db(o, 0) == Approx(1.5).epsilon(2e-4));
  }
}

TEST_CASE("gradients of more samples than a run has are the formula") {
  const Index samples = 2 * detail::run_length + 7, in = 70, out = detail::units_per_slice;
  const Matrix<double> x = random_matrix<double>(in, samples, 1);
  const Matrix<double> dz = random_matrix<double>(out, samples, 2);
  Matrix<double> dw = Matrix<double>::Ones(in, out), db = Matrix<double>::Ones(out, 1);
  detail::affine_accumulate(x, dz, 0, out, dw, db);
  CHECK(test::relative_error(
            dw, Matrix<double>(Matrix<double>::Ones(in, out) + x * dz.transpose())) <= 1e-11);
  CHECK(test::relative_error(
            db, Matrix<double>(Matrix<double>::Ones(out, 1) + dz.rowwise().sum())) <= 1e-11);
}

TEST_CASE("dropout drops at its rate, scales the rest, and goes by key and unit alone") {
  for (const double rate : {0.1, 0.5, 0.9}) {
    CAPTURE(rate);
    const detail::Dropout dropout(rate);
    CHECK(dropout.active());
    CHECK(dropout.scale<double>() == Approx(1 / (1 - rate)).epsilon(1e-4));
    std::vector<double> values(20000, 1.0);
    dropout.apply(RandomKey(1), values.data(), Index(values.size()));
    int dropped = 0;
    double sum = 0;
    for (const double v : values) {
      CHECK_FALSE((v != 0.0 && v != dropout.scale<double>()));
      dropped += v == 0.0;
      sum += v;
    }
    // Six standard deviations.
    CHECK(std::abs(dropped - 20000 * rate) < 6 * std::sqrt(20000 * rate * (1 - rate)));
    CHECK(sum / 20000 == Approx(1).epsilon(0.15));
    // A shorter vector starts the same; another key does not.
    std::vector<double> shorter(13, 1.0), other(200, 1.0);
    dropout.apply(RandomKey(1), shorter.data(), 13);
    CHECK(std::equal(shorter.begin(), shorter.end(), values.begin()));
    dropout.apply(RandomKey(2), other.data(), 200);
    CHECK_FALSE(std::equal(other.begin(), other.end(), values.begin()));
  }
  CHECK_FALSE(detail::Dropout(0).active());
  CHECK(detail::Dropout(0).scale<float>() == 1.0F);
  CHECK(std::isfinite(detail::Dropout(0.999999999).scale<float>()));  // something is always kept
}

TEMPLATE_TEST_CASE("dropout a vector at a time drops what its formula does", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const detail::Dropout dropout(0.4);
  for (const Index size : {1, 3, 15, 16, 17, 31, 32, 70, 256}) {
    CAPTURE(size);
    const RandomKey key = RandomKey(7).fold(size);
    Matrix<S> found = random_matrix<S>(size, 1, 3);
    if (size > 17) found(1) = std::numeric_limits<S>::infinity();  // times 0 it is nan
    Matrix<S> expected = found;
    dropout.apply(key, found.data(), size);
    for (Index i = 0; i < size; ++i) {
      const std::uint64_t number = key.bits(std::uint64_t(i) / 4) >> (16 * (i % 4)) & 0xffffU;
      expected(i) *= number < dropout.dropped ? S(0) : dropout.scale<S>();
    }
    CHECK(test::same_bits(found, expected));
  }
}
