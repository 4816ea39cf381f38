// SPDX-License-Identifier: MIT
#include <comet/experts/dense.hpp>
#include <comet/experts/detail/padding.hpp>

#include <support/catch.hpp>

using namespace comet;

namespace {

struct Sizes {
  Index in, out;
  [[nodiscard]] Index input_dim() const { return in; }
  [[nodiscard]] Index output_dim() const { return out; }
};

}  // namespace

TEST_CASE("blocks are as wide as it takes for Eigen to treat every column the same way") {
  for (const Index in : {1, 2, 7, 15, 256})
    for (const Index out : {1, 2, 8, 16, 256}) {
      const Index width = detail::column_multiple(Sizes{in, out});
      CHECK(width % 4 == 0);
      CHECK(in + out + width >= 20);  // below that Eigen takes its path for small products
    }
}

TEST_CASE("an expert with independent columns gets no padding") {
  CHECK(detail::column_multiple(
            DenseExpert<float>({.input_dim = 2, .output_dim = 2}, RandomKey(1))) == 1);
}
