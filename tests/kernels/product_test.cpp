// SPDX-License-Identifier: MIT
#include <comet/kernels/product.hpp>
#include <comet/kernels/transposed_product.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

/// Element by element.
template <class A, class B>
Matrix<double> plain_product(const A& a, const B& b) {
  Matrix<double> out = Matrix<double>::Zero(a.rows(), b.cols());
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < b.cols(); ++j)
      for (Index k = 0; k < a.cols(); ++k) out(i, j) += double(a(i, k)) * double(b(k, j));
  return out;
}

}  // namespace

// Sizes around the registers' widths, the tiles', and what is packed at once.
TEMPLATE_TEST_CASE("products are the formula at every size", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-13 : 2e-5;
  for (const Index rows : {1, 2, 3, 7, 8, 9, 16, 17, 24, 25, 31, 50, 200})
    for (const Index depth : {0, 1, 5, 8, 127, 128, 129, 300})
      for (const Index columns : {0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 26, 53}) {
        CAPTURE(rows, depth, columns);
        const Matrix<S> a = random_matrix<S>(rows, depth, 1);
        const Matrix<S> b = random_matrix<S>(depth, columns, 2);
        const Matrix<S> b_transposed = b.transpose();
        const Matrix<S> a_transposed = a.transpose();
        const Matrix<double> expected = plain_product(a, b);
        const auto close = [&](const Matrix<S>& got) {
          return expected.size() == 0 ||
                 (got.template cast<double>() - expected).cwiseAbs().maxCoeff() <=
                     tolerance * std::max(1.0, expected.cwiseAbs().maxCoeff());
        };
        Matrix<S> out = Matrix<S>::Constant(rows, columns, S(9));
        detail::product<false>(out, a, b);
        CHECK(close(out));
        detail::product<false>(out, a, b_transposed.transpose());
        CHECK(close(out));
        const Matrix<S> before = random_matrix<S>(rows, columns, 3);
        out = before;
        detail::product<true>(out, a, b);
        CHECK(close(out - before));
        out.setConstant(S(9));
        detail::transposed_product(a_transposed, b, out);
        CHECK(close(out));
      }
}

TEMPLATE_TEST_CASE("a column's bits do not depend on its neighbours", "", COMET_TEST_SCALARS) {
  using S = TestType;
  for (const Index size : {1, 5, 19, 64})
    for (const Index out : {1, 3, 6, 33, 130}) {
      const Matrix<S> w = random_matrix<S>(size, out, 1), x = random_matrix<S>(size, 40, 2);
      Matrix<S> together(out, 40), alone(out, 1);
      detail::transposed_product(w, x, together);
      for (Index b = 0; b < 40; ++b) {
        detail::transposed_product(w, x.col(b), alone);
        CHECK(alone == together.col(b));
      }
      Matrix<S> back(size, 40), back_alone(size, 1);
      detail::product<false>(back, w, together);
      for (Index b = 0; b < 40; ++b) {
        detail::product<false>(back_alone, w, together.col(b));
        CHECK(back_alone == back.col(b));
      }
    }
}

TEST_CASE("blocks of larger matrices keep to themselves") {
  const Matrix<double> a = random_matrix<double>(20, 9, 1), b = random_matrix<double>(9, 12, 2);
  Matrix<double> out = Matrix<double>::Constant(30, 20, 7);
  detail::product<false>(out.block(5, 4, 13, 5), a.middleRows(3, 13), b.middleCols(2, 5));
  Matrix<double> expected = Matrix<double>::Constant(30, 20, 7);
  expected.block(5, 4, 13, 5) = plain_product(a.middleRows(3, 13), b.middleCols(2, 5));
  CHECK(test::relative_error(out, expected) <= 1e-13);
}
