// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <vector>

#include <comet/core/thread_pool.hpp>
#include <comet/dispatch/columns.hpp>
#include <comet/dispatch/plan.hpp>

#include <support/catch.hpp>
#include <support/fixed_gate.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::Load;
using comet::test::random_matrix;

namespace {

constexpr Index num_experts = 5;

DispatchPlan make_plan(Load load, Index num_samples, Index multiple) {
  const auto routing = test::make_routing<double>(load, num_experts, num_samples, RandomKey(1));
  DispatchPlan plan;
  plan.build(routing, num_experts, multiple);
  return plan;
}

}  // namespace

TEST_CASE("gather gives every expert its samples, side by side, and 0 for padding") {
  Columns<double> columns;  // used again and again: nothing of an earlier batch may be left
  for (const Load load : {Load::random, Load::skewed, Load::idle, Load::full, Load::empty})
    for (const Index num_samples : {0, 1, 7, 200})
      for (const Index multiple : {1, 4, 20}) {
        CAPTURE(int(load), num_samples, multiple);
        const DispatchPlan plan = make_plan(load, num_samples, multiple);
        const Matrix<double> x = random_matrix<double>(3, num_samples, 2);
        gather(x, plan, columns);
        REQUIRE(columns.matrix().rows() == 3);
        REQUIRE(columns.matrix().cols() == plan.num_columns());
        for (Index e = 0; e < num_experts; ++e) {
          const auto view = columns.of(plan, e, 0, plan.padded_count(e));
          REQUIRE(view.cols() == plan.padded_count(e));
          for (Index c = 0; c < view.cols(); ++c) {
            if (c < plan.count(e)) {
              CHECK(test::same_bits(view.col(c), x.col(plan.samples(e)[std::size_t(c)])));
            } else {
              CHECK(view.col(c).isZero(0));
            }
          }
          // Part of them.
          for (Index first = 0; first < view.cols(); first += 3) {
            const Index width = std::min(Index(2), view.cols() - first);
            CHECK(
                test::same_bits(columns.of(plan, e, first, width), view.middleCols(first, width)));
          }
        }
      }
}

TEST_CASE("an expert that serves every sample reads x itself, unless its columns are padded") {
  const Index num_samples = 6;
  Matrix<double> memory = random_matrix<double>(4, num_samples, 2);
  const auto x = memory.topRows(3);  // a gap between columns
  Columns<double> columns;
  const DispatchPlan tight = make_plan(Load::full, num_samples, 1);
  gather(x, tight, columns);
  for (Index e = 0; e < num_experts; ++e) {
    CHECK(columns.of(tight, e, 0, num_samples).data() == memory.data());
    CHECK(columns.of(tight, e, 2, 3).data() == memory.data() + 2 * 4);
    CHECK(test::same_bits(columns.of(tight, e, 2, 3), x.middleCols(2, 3)));
  }
  // The same numbers elsewhere: what was gathered stays, what is read moves.
  const Matrix<double> copy = x;
  columns.read_from(copy);
  CHECK(columns.of(tight, 1, 0, num_samples).data() == copy.data());

  const DispatchPlan padded = make_plan(Load::full, num_samples, 4);
  gather(x, padded, columns);
  const auto all = columns.of(padded, 2, 0, 8);
  CHECK(all.data() != memory.data());
  CHECK(test::same_bits(all.leftCols(num_samples), x));
  CHECK(all.rightCols(2).isZero(0));
}

TEST_CASE("columns left in the samples are those that gather makes") {
  Columns<double> gathered, left;
  for (const Load load : {Load::random, Load::idle, Load::full, Load::empty})
    for (const Index multiple : {1, 4}) {
      CAPTURE(int(load), multiple);
      const DispatchPlan plan = make_plan(load, 30, multiple);
      Matrix<double> memory = random_matrix<double>(4, 30, 2);
      const auto x = memory.topRows(3);  // a gap between columns
      gather(x, plan, gathered);
      left.leave_in(x, plan);
      CHECK_FALSE(left.is_gathered());
      CHECK(left.rows() == 3);
      CHECK(left.cols() == plan.num_columns());
      for (Index e = 0; e < num_experts; ++e)
        for (Index first = 0; first < plan.padded_count(e); first += 3) {
          const Index width = std::min(Index(5), plan.padded_count(e) - first);
          const auto expected = gathered.of(plan, e, first, width);
          Matrix<double> room = Matrix<double>::Constant(3, width, 9);
          CHECK(test::same_bits(left.of(plan, e, first, width, room.data()), expected));
          // A second call may find them.
          CHECK(test::same_bits(left.of(plan, e, first, width, room.data(), true), expected));
          // What has been gathered needs no room.
          CHECK(gathered.of(plan, e, first, width, nullptr).data() == expected.data());
        }
      if (load == Load::full && multiple == 1) {
        CHECK(left.of(plan, 1, 0, 30, nullptr).data() == memory.data());
      }
    }
  // Asked for memory, they have some again.
  const DispatchPlan plan = make_plan(Load::random, 30, 1);
  left.fit(3, plan);
  CHECK(left.is_gathered());
  CHECK(left.matrix().cols() == plan.num_columns());
}

TEST_CASE("gather_back adds a sample's columns in ascending order of the expert") {
  for (const Load load : {Load::random, Load::skewed, Load::full, Load::empty})
    for (const Index multiple : {1, 4}) {
      CAPTURE(int(load), multiple);
      const Index num_samples = 150;
      const DispatchPlan plan = make_plan(load, num_samples, multiple);
      Columns<double> dcolumns;
      auto all = dcolumns.shape(3, plan);
      all = random_matrix<double>(3, plan.num_columns(), 3);
      for (Index c = 0; c < plan.num_columns(); ++c)
        if (plan.column_samples()[std::size_t(c)] < 0) all.col(c).setConstant(std::nan(""));

      const Matrix<double> before = random_matrix<double>(3, num_samples, 4);
      Matrix<double> expected = before;
      for (Index e = 0; e < num_experts; ++e)
        for (Index i = 0; i < plan.count(e); ++i)
          expected.col(plan.samples(e)[std::size_t(i)]) += all.col(plan.first_column(e) + i);
      for (const Index threads : {1, 3}) {
        ThreadPool pool(threads);
        Matrix<double> dx = before;
        gather_back(dcolumns, plan, dx, &pool);
        CHECK(test::same_bits(dx, expected));
      }
    }
}

TEST_CASE("threads gather the same bits") {
  const Index num_samples = 3000;  // enough to be worth a second thread
  const DispatchPlan plan = make_plan(Load::random, num_samples, 1);
  const Matrix<float> x = random_matrix<float>(40, num_samples, 2);
  Columns<float> alone, together;
  gather(x, plan, alone);
  ThreadPool pool(4);
  gather(x, plan, together, &pool);
  for (Index e = 0; e < num_experts; ++e)
    CHECK(test::same_bits(alone.of(plan, e, 0, plan.count(e)),
                          together.of(plan, e, 0, plan.count(e))));
  Columns<float> dcolumns;
  dcolumns.shape(40, plan) = random_matrix<float>(40, plan.num_columns(), 3);
  Matrix<float> dx = x, dx_together = x;
  gather_back(dcolumns, plan, dx);
  gather_back(dcolumns, plan, dx_together, &pool);
  CHECK(test::same_bits(dx, dx_together));
}

TEST_CASE("columns keep what they hold where their shape fits") {
  const DispatchPlan plan = make_plan(Load::random, 20, 1);
  Columns<double> columns;
  columns.fit(3, plan);
  columns.matrix().setConstant(5);
  columns.fit(3, plan);
  CHECK(columns.matrix().rows() == 3);
  CHECK((columns.matrix().array() == 5).all());
  columns.fit(4, plan);
  CHECK(columns.matrix().rows() == 4);
  CHECK(columns.matrix().cols() == plan.num_columns());
}

TEST_CASE("gather and gather_back refuse another batch than the plan's") {
  const DispatchPlan plan = make_plan(Load::random, 7, 1), longer = make_plan(Load::full, 9, 1);
  Matrix<double> x = random_matrix<double>(3, 8, 2);
  Columns<double> columns;
  CHECK_THROWS_WITH(gather(x, plan, columns),
                    "comet::gather: x.cols() is 8, expected plan.num_samples() = 7");
  gather(x.leftCols(7), plan, columns);
  CHECK_THROWS_WITH(gather_back(columns, plan, x),
                    "comet::gather_back: dcolumns are read from samples (gather, leave_in), "
                    "expected columns of their own (shape)");
  columns.shape(3, plan);
  Matrix<double> tall(4, 7);
  CHECK_THROWS_WITH(gather_back(columns, plan, x),
                    "comet::gather_back: dx.cols() is 8, expected plan.num_samples() = 7");
  CHECK_THROWS_WITH(gather_back(columns, plan, tall),
                    "comet::gather_back: dx.rows() is 4, expected dcolumns.rows() = 3");
  CHECK_THROWS_WITH(gather_back(columns, longer, x),
                    StartsWith("comet::gather_back: dcolumns.cols() is ") &&
                        EndsWith(", expected plan.num_columns() = 45"));
}
