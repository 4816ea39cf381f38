// SPDX-License-Identifier: MIT
#include <vector>

#include <comet/kernels/dots.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

TEMPLATE_TEST_CASE("dots are inner products, the same bits however many at a time", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-14 : 1e-6;
  for (const Index d : {0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 100}) {
    CAPTURE(d);
    const Matrix<S> x = random_matrix<S>(d, 23, 1), w = random_matrix<S>(d, 1, 2);
    std::vector<const S*> columns;
    for (Index b = 0; b < 23; ++b) columns.push_back(x.col(b).data());
    std::vector<S> all(23);
    detail::dots(w.data(), d, columns.data(), Index(23), S(0.5), all.data());
    for (Index count = 0; count <= 23; ++count) {
      std::vector<S> some(std::size_t(count) + 1, S(7));
      detail::dots(w.data(), d, columns.data(), count, S(0.5), some.data());
      CHECK(some.back() == S(7));
      some.pop_back();
      CHECK(test::same_bits(some, std::vector<S>(all.begin(), all.begin() + count)));
    }
    for (Index b = 0; b < 23; ++b) {
      double expected = 0.5, scale = 1;
      for (Index i = 0; i < d; ++i) {
        expected += double(w(i, 0)) * double(x(i, b));
        scale += std::abs(double(w(i, 0)) * double(x(i, b)));
      }
      CHECK(std::abs(double(all[std::size_t(b)]) - expected) <= tolerance * scale);
    }
    // Scattered vectors, a gap between results, odd addresses.
    std::vector<S> memory(std::size_t(24 * (d + 1) + 3));
    std::vector<const S*> pointers;
    for (Index b = 0; b < 11; ++b) {
      S* const place = memory.data() + (22 - 2 * b) * (d + 1) + 1;
      std::copy_n(x.col(b).data(), d, place);
      pointers.push_back(place);
    }
    std::vector<S> spread(33, S(7));
    detail::dots(w.data(), d, pointers.data(), Index(11), S(0.5), spread.data(), Index(3));
    for (std::size_t b = 0; b < 11; ++b) {
      CHECK(spread[3 * b] == all[b]);
      CHECK(spread[3 * b + 1] == S(7));
    }
  }
}

TEMPLATE_TEST_CASE("add_scaled adds any number of vectors", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-14 : 1e-6;
  for (const Index size : {1, 3, 8, 21})
    for (const Index count : {0, 1, 2, 3, 4, 5, 6, 7, 8, 11}) {
      const Matrix<S> x = random_matrix<S>(size, count, 1), factors = random_matrix<S>(count, 1, 2);
      std::vector<const S*> vectors;
      for (Index i = 0; i < count; ++i) vectors.push_back(x.col(i).data());
      Matrix<S> sum = Matrix<S>::Ones(size, 1);
      detail::add_scaled(sum.data(), size, factors.data(), vectors.data(), count);
      const Matrix<S> expected = Matrix<S>::Ones(size, 1) + x * factors;
      CHECK(test::relative_error(sum, expected) <= tolerance);
    }
}
