// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <cmath>
#include <cstdint>
#include <limits>

#include <comet/core/random.hpp>
#include <comet/kernels/stored_affine.hpp>
#include <comet/kernels/stored_product.hpp>
#include <support/model.hpp>

using namespace comet;
using namespace comet::detail;
using comet::test::random_matrix;

namespace {

/// Inputs and outputs of whole and broken registers and blocks, and of more than one part.
constexpr Index depths[] = {1, 7, 16, 43, 256, 1024, 1025, 2500};
constexpr Index outputs[] = {1, 3, 4, 11, 16, 37};

template <class Operand, class S>
Matrix<S> product(const Matrix<typename Operand::Weight>& w, const Matrix<S>& x) {
  Matrix<S> y = Matrix<S>::Constant(w.cols(), x.cols(), std::numeric_limits<S>::quiet_NaN());
  stored_product<Operand, S>(w, x, y);
  return y;
}

/// A column alone, and in a batch of any width.
template <class Operand, class S>
void check_any_width(const Matrix<typename Operand::Weight>& w, const Matrix<S>& x) {
  const Matrix<S> alone = product<Operand, S>(w, x.col(0));
  for (Index width = 1; width <= x.cols(); ++width)
    CHECK(product<Operand, S>(w, x.leftCols(width)).col(0) == alone);
}

template <class S>
Matrix<std::int8_t> random_integers(Index rows, Index cols) {
  return random_matrix<S>(rows, cols, 5)
      .unaryExpr([](S v) { return std::rint(v * 127); })
      .template cast<std::int8_t>();
}

/// Weights of eight bits by each kind of instructions that this processor has: the same bits.
template <class S>
Matrix<S> integers_product(const Matrix<std::int8_t>& w, const Matrix<S>& x) {
  const Matrix<S> y = product<IntegerOperand<S>, S>(w, x);
#ifdef COMET_BYTE_PRODUCTS
  if (multiplies_bytes()) {
    const Matrix<S> by_bytes = product<ByteOperand<S>, S>(w, x);
    CHECK((y.array().isNaN() == by_bytes.array().isNaN()).all());
    CHECK((y.array().isNaN() || y.array() == by_bytes.array()).all());
    check_any_width<ByteOperand<S>, S>(w, x);
  }
#endif
  return y;
}

}  // namespace

TEMPLATE_TEST_CASE("products with bfloat16 weights are those with the weights' values", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  for (const Index d : depths)
    for (const Index m : outputs) {
      const Matrix<Bfloat16> w =
          random_matrix<S>(d, m, 1).template cast<float>().template cast<Bfloat16>();
      const Matrix<S> x = random_matrix<S>(d, 12, 2);
      const Matrix<S> wide = w.template cast<float>().template cast<S>();
      const Matrix<S> expected = wide.transpose() * x;
      CHECK((product<Bfloat16Operand<S>, S>(w, x) - expected).norm() <=
            40 * std::numeric_limits<S>::epsilon() * std::sqrt(S(d)) * wide.norm());
      check_any_width<Bfloat16Operand<S>, S>(w, x);
    }
}

TEMPLATE_TEST_CASE("products with weights of eight bits are exact sums of integers", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  for (const Index d : depths)
    for (const Index m : outputs) {
      const Matrix<std::int8_t> w = random_integers<S>(d, m);
      const Matrix<S> x = random_matrix<S>(d, 12, 3);
      const Matrix<S> y = integers_product(w, x);
      for (Index c = 0; c < x.cols(); ++c) {
        const S unit = x.col(c).cwiseAbs().maxCoeff() / S(portable::largest_rounded);
        for (Index u = 0; u < m; ++u) {
          S sum = 0;
          for (Index k = 0; k < d; k += 512) {
            std::int64_t part = 0;
            for (Index i = k; i < std::min(d, k + 512); ++i)
              part += std::int64_t(w(i, u)) * std::int64_t(std::rint(x(i, c) * (S(1) / unit)));
            sum = k == 0 ? S(part) * unit : std::fma(S(part), unit, sum);
          }
          CHECK(y(u, c) == sum);
        }
      }
      check_any_width<IntegerOperand<S>, S>(w, x);
    }
}

TEST_CASE("the largest sums of eight bits fit; a column of zeros, and one that is not finite") {
  const Index d = 5000;
  const Matrix<std::int8_t> w = Matrix<std::int8_t>::Constant(d, 8, -127);
  Matrix<double> x = Matrix<double>::Constant(d, 3, 2.0);
  x.col(1).setZero();
  x(7, 2) = std::numeric_limits<double>::infinity();
  Matrix<double> tiny = Matrix<double>::Constant(d, 1, 1e-320);
  CHECK(integers_product(w, tiny).isZero(0));  // as good as zeros
  const Matrix<double> y = integers_product(w, x);
  CHECK(y(0, 0) == Approx(-127 * 2.0 * double(d)));
  CHECK(y.col(1).isZero(0));
  CHECK(y.col(2).array().isNaN().all());
}

TEMPLATE_TEST_CASE("numbers near the largest meet weights of eight bits as they meet others", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const Index d = 1300, m = 9;  // three parts of a sum, which may overflow with either sign
  const S most = std::numeric_limits<S>::max();
  const Matrix<S> weight = random_matrix<S>(d, m, 1) / S(4 * d);
  const Matrix<S> bias = random_matrix<S>(m, 1, 2);
  const StoredAffine<S> full(weight, bias, Activation::identity, Storage::full);
  const StoredAffine<S> small(weight, bias, Activation::identity, Storage::int8);
  for (const S largest : {most, most / 2, most / S(1e5), most / S(1e6)}) {
    Matrix<S> x = largest * random_matrix<S>(d, 3, 3), expected(m, 3), y(m, 3);
    x.col(1) /= most;  // beside columns that need no care
    full.predict(x, expected);
    small.predict(x, y);
    CHECK(y.allFinite());
    for (Index c = 0; c < 3; ++c) {
      CHECK((y.col(c) / largest).isApprox(expected.col(c) / largest, S(0.02)));
      std::int16_t rounded[std::size_t(d)];
      Matrix<S> alone(m, 1);
      small.with_weight([&]<class W>(const Parameter<W>& w) {
        if constexpr (std::is_same_v<W, std::int8_t>)
          portable::affine(w.data(), small.scale().data(), bias.data(), false, d, m,
                           x.col(c).data(), rounded, alone.data());
      });
      CHECK(y.col(c) == alone);
    }
  }
  const StoredAffine<S> heavy(Matrix<S>::Constant(d, m, S(1)), bias, Activation::identity,
                              Storage::int8);
  Matrix<S> y(m, 1);
  heavy.predict(Matrix<S>::Constant(d, 1, most / 2), y);  // too large indeed
  CHECK((y.array() == std::numeric_limits<S>::infinity()).all());
}

TEST_CASE("experts of emitted headers keep nan, as products do") {
  const double inf = std::numeric_limits<double>::infinity();
  const double w[] = {inf, -inf, 1, 1}, bias[] = {0, -5}, x[] = {1, 1};
  double y[2];
  portable::affine<1, false, false>(w, bias, true, 2, 2, x, y);
  CHECK(std::isnan(y[0]));
  CHECK(y[1] == 0);  // cut off
  const std::int8_t integers[] = {1, 1};
  const double scale[] = {inf}, no_bias[] = {-inf};
  std::int16_t rounded[2];
  portable::affine(integers, scale, no_bias, true, 2, 1, x, rounded, y);
  CHECK(std::isnan(y[0]));
}
