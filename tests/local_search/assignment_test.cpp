// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/local_search/assignment.hpp>
#include <support/allocation_counter.hpp>
#include <support/golden.hpp>

using comet::assign;
using comet::Assignment;
using comet::AssignmentSolver;
using comet::ExpertId;
using comet::Goal;
using comet::Index;
using comet::Matrix;
using comet::RandomKey;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Matrix<double> uniform(Index rows, Index columns, std::uint64_t seed) {
  Matrix<double> cost(rows, columns);
  RandomKey(seed).fill_uniform(cost, -1.0, 1.0);
  return cost;
}

/// The least sum over all assignments of min(rows, columns) pairs, by trying all.
double brute_force(const Matrix<double>& cost) {
  if (cost.rows() > cost.cols()) return brute_force(cost.transpose());
  std::vector<Index> columns(static_cast<std::size_t>(cost.cols()));
  std::iota(columns.begin(), columns.end(), Index{0});
  double best = infinity;
  do {
    double sum = 0;
    for (Index i = 0; i < cost.rows(); ++i) sum += cost(i, columns[static_cast<std::size_t>(i)]);
    best = std::min(best, sum);
    // Skip the orders of the columns that no row uses.
    std::reverse(columns.begin() + cost.rows(), columns.end());
  } while (std::next_permutation(columns.begin(), columns.end()));
  return best;
}

/// Checks that the result is an assignment of `cost`, complete, and of the cost it claims.
void check_assignment(const Assignment& result, const Matrix<double>& cost) {
  REQUIRE(result.row_to_column.size() == static_cast<std::size_t>(cost.rows()));
  std::vector<int> taken(static_cast<std::size_t>(cost.cols()), 0);
  Index pairs = 0;
  double sum = 0;
  for (Index i = 0; i < cost.rows(); ++i) {
    const ExpertId column = result.row_to_column[static_cast<std::size_t>(i)];
    REQUIRE(column >= -1);
    REQUIRE(column < cost.cols());
    if (column == -1) continue;
    ++pairs;
    REQUIRE(++taken[static_cast<std::size_t>(column)] == 1);
    sum += cost(i, column);
  }
  REQUIRE(pairs == std::min(cost.rows(), cost.cols()));
  REQUIRE(result.cost == sum);
}

/// Complementary slackness: duals that are feasible and sum to the cost prove the optimum.
void check_proof(const Assignment& result, const Matrix<double>& cost, Goal goal) {
  const double sign = goal == Goal::minimize ? 1 : -1;
  const double tolerance = 1e-12 * std::max(1.0, cost.array().isFinite().select(cost, 0.0).norm());
  REQUIRE(result.row_dual.size() == static_cast<std::size_t>(cost.rows()));
  REQUIRE(result.column_dual.size() == static_cast<std::size_t>(cost.cols()));
  const Eigen::Map<const Eigen::VectorXd> u(result.row_dual.data(), cost.rows());
  const Eigen::Map<const Eigen::VectorXd> v(result.column_dual.data(), cost.cols());
  double least_slack = 0;
  for (Index j = 0; j < cost.cols(); ++j)
    for (Index i = 0; i < cost.rows(); ++i)
      least_slack = std::min(least_slack, sign * (cost(i, j) - u(i) - v(j)));
  REQUIRE(least_slack >= -tolerance);
  if (cost.rows() < cost.cols()) REQUIRE((sign * v.array() <= 0).all());
  if (cost.rows() > cost.cols()) REQUIRE((sign * u.array() <= 0).all());
  std::vector<bool> taken(static_cast<std::size_t>(cost.cols()), false);
  for (Index i = 0; i < cost.rows(); ++i) {
    const ExpertId column = result.row_to_column[static_cast<std::size_t>(i)];
    if (column == -1)
      REQUIRE(u(i) == 0);
    else
      taken[static_cast<std::size_t>(column)] = true;
  }
  for (Index j = 0; j < cost.cols(); ++j)
    if (!taken[static_cast<std::size_t>(j)]) REQUIRE(v(j) == 0);
  REQUIRE(std::abs(u.sum() + v.sum() - result.cost) <=
          tolerance * static_cast<double>(cost.rows() + 1));
}

}  // namespace

TEST_CASE("assignment costs match the golden numbers") {
  AssignmentSolver solver;
  for (const auto& golden : comet::test::golden("assignment.json")) {
    // The file lists rows, so that its memory is the transpose.
    const Matrix<double> cost = comet::test::matrix(golden.at("cost")).transpose();
    const double least = golden.at("min_cost").get<double>();
    CAPTURE(cost.rows());
    const Assignment& result = solver.solve(cost);
    check_assignment(result, cost);
    CHECK(std::abs(result.cost - least) <= 1e-12 * std::max(1.0, std::abs(least)));
    check_proof(result, cost, Goal::minimize);

    const Assignment& largest = solver.solve(-cost, Goal::maximize);
    CHECK(std::abs(largest.cost + least) <= 1e-12 * std::max(1.0, std::abs(least)));
    check_proof(largest, -cost, Goal::maximize);
  }
}

TEST_CASE("assignment equals brute force on random, tied and rectangular matrices") {
  AssignmentSolver solver;
  const int cases = 1000;
  for (int c = 0; c < cases; ++c) {
    const RandomKey key = RandomKey(11).fold(static_cast<std::uint64_t>(c));
    // Up to 8 x 8, but mostly smaller: 8! sums take their time.
    const Index largest = c % 50 == 0 ? 8 : 6;
    const auto size = [&](std::uint64_t i) {
      return 1 + static_cast<Index>(key.index(i, static_cast<std::uint64_t>(largest)));
    };
    const Index rows = c % 50 == 0 ? 8 : size(0);
    const Index columns = c % 2 == 0 ? rows : size(1);
    Matrix<double> cost = uniform(rows, columns, key.fold(1).value());
    if (c % 4 >= 2) cost = (cost * 3).array().round().matrix();  // integers in -3..3: many ties
    CAPTURE(c, rows, columns);
    const double least = brute_force(cost);
    const double most = -brute_force(-cost);

    const Assignment& cheapest = solver.solve(cost);
    check_assignment(cheapest, cost);
    check_proof(cheapest, cost, Goal::minimize);
    REQUIRE(std::abs(cheapest.cost - least) <= 1e-12);
    const Assignment& dearest = solver.solve(cost, Goal::maximize);
    check_proof(dearest, cost, Goal::maximize);
    REQUIRE(std::abs(dearest.cost - most) <= 1e-12);
  }
}

TEST_CASE("assignment equals brute force where pairs are forbidden") {
  AssignmentSolver solver;
  int infeasible = 0;
  for (int c = 0; c < 400; ++c) {
    const RandomKey key = RandomKey(12).fold(static_cast<std::uint64_t>(c));
    const Index rows = 1 + c % 6;
    const Index columns = c % 3 == 0 ? 1 + (c / 6) % 6 : rows;
    Matrix<double> cost = uniform(rows, columns, key.value());
    for (Index i = 0; i < cost.size(); ++i)
      if (key.fold(7).uniform(static_cast<std::uint64_t>(i)) < 0.5) cost(i) = infinity;
    const double least = brute_force(cost);
    CAPTURE(c, cost);
    if (least == infinity) {
      ++infeasible;
      REQUIRE_THROWS_AS(solver.solve(cost), std::invalid_argument);
      REQUIRE_THROWS_AS(solver.solve(-cost, Goal::maximize), std::invalid_argument);
    } else {
      REQUIRE(std::abs(solver.solve(cost).cost - least) <= 1e-12);
      check_proof(solver.solve(cost), cost, Goal::minimize);
      REQUIRE(std::abs(solver.solve(-cost, Goal::maximize).cost + least) <= 1e-12);
    }
  }
  CHECK(infeasible > 20);
  CHECK(infeasible < 380);
}

TEST_CASE("assignment of degenerate matrices") {
  CHECK(assign(Matrix<double>(0, 0)).row_to_column.empty());
  CHECK(assign(Matrix<double>(0, 0)).cost == 0);
  CHECK(assign(Matrix<double>(0, 3)).column_dual == std::vector<double>{0, 0, 0});
  CHECK(assign(Matrix<double>(3, 0)).row_to_column == std::vector<ExpertId>{-1, -1, -1});
  CHECK(assign(Matrix<double>::Constant(1, 1, -2.5)).cost == -2.5);

  const Eigen::RowVector4d line(3, 1, 2, 1);
  CHECK(assign(line).row_to_column == std::vector<ExpertId>{1});
  CHECK(assign(line, Goal::maximize).row_to_column == std::vector<ExpertId>{0});
  CHECK(assign(line.transpose()).row_to_column == std::vector<ExpertId>{-1, 0, -1, -1});

  for (const double value : {0.0, 0.1, -7.0, 1e300}) {
    const Matrix<double> constant = Matrix<double>::Constant(33, 33, value);
    const Assignment result = assign(constant);
    check_assignment(result, constant);
    check_proof(result, constant, Goal::minimize);
  }

  // A hard snap of a soft permutation that is already hard gives it back.
  const auto p = comet::Permutation::random(100, RandomKey(5));
  CHECK(comet::Permutation(assign(p.matrix(), Goal::maximize).row_to_column) == p);
}

TEST_CASE("duals prove the optimum of larger problems of every kind") {
  AssignmentSolver solver;
  const Index n = 200;
  const Matrix<double> random = uniform(n, n, 21);
  const Matrix<double> ranks = Eigen::VectorXd::LinSpaced(n, 0.01, 1) *
                               Eigen::RowVectorXd::LinSpaced(n, 0.3, 2);  // hard: long paths
  const std::vector<Matrix<double>> problems{
      random,
      (random * 4).array().round().matrix(),
      ranks,
      (random.array() * 1e4).exp().min(1e12).matrix(),
      uniform(n, 70, 22),
      uniform(70, n, 23),
      uniform(n, n - 1, 24),
  };
  for (const Matrix<double>& cost : problems)
    for (const Goal goal : {Goal::minimize, Goal::maximize}) {
      const Assignment& result = solver.solve(cost, goal);
      check_assignment(result, cost);
      check_proof(result, cost, goal);
    }
}

TEST_CASE(
    "assignment does not depend on earlier calls, on storage order or on being an expression") {
  AssignmentSolver solver;
  const Matrix<double> ties = (uniform(40, 40, 31) * 2).array().round().matrix();
  const std::vector<ExpertId> first = solver.solve(ties).row_to_column;
  (void)solver.solve(uniform(90, 60, 32), Goal::maximize);
  CHECK(solver.solve(ties).row_to_column == first);
  CHECK(assign(ties).row_to_column == first);
  CHECK(assign(-ties, Goal::maximize).row_to_column == first);
  const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> row_major = ties;
  CHECK(assign(row_major).row_to_column == first);
  CHECK(assign(ties.cast<float>()).row_to_column == first);

  const AssignmentSolver copy = solver;
  AssignmentSolver other = copy;
  CHECK(other.solve(ties).row_to_column == first);
}

TEST_CASE("assignment refuses what has no answer, and names the entry") {
  Matrix<double> cost = Matrix<double>::Zero(3, 4);
  cost(2, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(assign(cost),
                    "comet::AssignmentSolver::solve: cost(2, 1) is nan, expected a finite number, "
                    "or inf for a forbidden pair");
  cost(2, 1) = -infinity;
  CHECK_THROWS_WITH(assign(cost.transpose()),
                    "comet::AssignmentSolver::solve: cost(1, 2) is -inf, expected a finite number, "
                    "or inf for a forbidden pair");
  CHECK_NOTHROW(assign(cost, Goal::maximize));
  cost(2, 1) = infinity;
  CHECK_THROWS_WITH(assign(cost, Goal::maximize),
                    "comet::AssignmentSolver::solve: cost(2, 1) is inf, expected a finite number, "
                    "or -inf for a forbidden pair");
  CHECK_NOTHROW(assign(cost));
  // Finite ones whose differences would not be.
  Matrix<double> large = Matrix<double>::Constant(2, 2, -1.7e308);
  large(0, 0) = large(1, 1) = 1.7e308;
  CHECK_THROWS_WITH(assign(large),
                    "comet::AssignmentSolver::solve: cost(0, 0) is 1.7e+308, expected a number of "
                    "size 1e+300 at most, or inf for a forbidden pair");
  CHECK_THROWS_WITH(assign(large, Goal::maximize),
                    "comet::AssignmentSolver::solve: cost(0, 0) is 1.7e+308, expected a number of "
                    "size 1e+300 at most, or -inf for a forbidden pair");
  large = (large.array() > 0).select(Matrix<double>::Constant(2, 2, 1e300), -1e300);
  CHECK(assign(large).row_to_column == std::vector<ExpertId>{1, 0});
  CHECK(assign(large, Goal::maximize).row_to_column == std::vector<ExpertId>{0, 1});
  cost.row(2).setConstant(infinity);
  CHECK_THROWS_WITH(assign(cost),
                    "comet::AssignmentSolver::solve: the forbidden pairs of cost leave no complete "
                    "assignment");
}

TEST_CASE("assignment does not allocate for sizes it has seen") {
  if (!comet::test::can_count_allocations) return;
  AssignmentSolver solver;
  const Matrix<double> large = uniform(50, 70, 41);
  const Matrix<float> small = uniform(33, 33, 42).cast<float>();
  double sum = solver.solve(large).cost + solver.solve(large, Goal::maximize).cost +
               solver.solve(large.transpose()).cost;
  const long count = comet::test::count_allocations([&] {
    sum += solver.solve(small).cost;
    sum += solver.solve(large.transpose(), Goal::maximize).cost;
    sum += solver.solve(large).cost;
  });
  CHECK(count == 0);
  CHECK(std::isfinite(sum));
}
