// SPDX-License-Identifier: MIT
#include <comet/dispatch/plan.hpp>
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

TEST_CASE("columns that a plan has not padded are refused, of the experts in question alone") {
  Routing<double> routing;
  for (const ExpertId e : {0, 0, 0, 0, 1, 1, 1}) {
    routing.push(e, 1.0);
    routing.end_sample();
  }
  DispatchPlan plan;
  plan.build(routing, 3);
  detail::check_padding("here", plan, 0, 3, 1);
  detail::check_padding("here", plan, 0, 1, 4);
  detail::check_padding("here", plan, 2, 1, 4);
  CHECK_THROWS_WITH(detail::check_padding("here", plan, 0, 3, 4),
                    StartsWith("comet::here: the number of columns of expert 1 is 3") &&
                        ContainsSubstring("column_multiple() = 4"));
  plan.build(routing, 3, 4);
  detail::check_padding("here", plan, 0, 3, 4);
}
