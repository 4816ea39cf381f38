// SPDX-License-Identifier: MIT
// Sinkhorn and assignment for random sizes and values against plain loops and against trying all.
#include <cmath>
#include <limits>
#include <vector>

#include <comet/core/permutation.hpp>
#include <comet/local_search/assignment.hpp>
#include <comet/local_search/sinkhorn.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>
#include <support/reference.hpp>

using namespace comet;
namespace reference = comet::test::reference;

TEST_CASE("Sinkhorn agrees with the log domain, for any size, temperature and spread") {
  const int seed = GENERATE(range(0, 60));
  const RandomKey key = RandomKey(6).fold(seed);
  const auto n = Index(1 + key.index(0, 9));
  const auto iterations = Index(1 + key.index(1, 30));
  const double temperature = std::pow(10.0, key.uniform(2, -7, 1));
  const double spread = std::pow(10.0, key.uniform(3, -3, 1));
  auto u = test::random_matrix<double>(n, n, key.value(), -spread, spread);
  if (key.index(4, 3) == 0) u.setConstant(u(0, 0));        // nothing but ties
  if (n > 1 && key.index(4, 3) == 1) u.row(1) = u.row(0);  // two slots that want the same
  CAPTURE(seed, n, iterations, temperature, spread);
  Sinkhorn sinkhorn;
  const Matrix<double> soft =
      sinkhorn.forward(u, {.temperature = temperature, .iterations = iterations});
  // The values go into exponentials after a division by the temperature: that many roundings.
  const double margin = 1e-13 * (1 + spread / temperature);
  CHECK((soft - reference::sinkhorn(u, temperature, iterations)).cwiseAbs().maxCoeff() <=
        std::min(margin, 1e-6));
  CHECK((soft.colwise().sum().array() - 1).abs().maxCoeff() <= 1e-12);
  Matrix<double> gradient = Matrix<double>::Zero(n, n);
  sinkhorn.backward(test::random_matrix<double>(n, n, 1), gradient);
  CHECK(gradient.allFinite());
}

TEST_CASE("an assignment costs the least of all, and its duals prove it") {
  const int seed = GENERATE(range(0, 80));
  const RandomKey key = RandomKey(7).fold(seed);
  const auto rows = Index(key.index(0, 6));
  const auto cols = rows + Index(key.index(1, 2));
  const double scale = std::pow(10.0, key.uniform(2, -300, 300));
  Matrix<double> cost(rows, cols);
  const bool tied = key.index(3, 2) == 0;
  for (Index i = 0; i < cost.size(); ++i) {
    const auto c = std::uint64_t(10 + i);
    cost.data()[i] = (tied ? double(key.index(c, 3)) - 1 : key.uniform(c, -1, 1)) * scale;
  }
  CAPTURE(seed, rows, cols, scale, tied);
  AssignmentSolver solver;
  const Assignment least = solver.solve(cost);
  const double margin = 1e-13 * scale;
  if (rows > 0) CHECK(std::abs(least.cost - reference::least_cost(cost)) <= margin);
  const Assignment turned = solver.solve(cost.transpose());
  CHECK(std::abs(turned.cost - least.cost) <= margin);
  const Assignment most = solver.solve(-cost, Goal::maximize);
  CHECK(std::abs(most.cost + least.cost) <= margin);
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j)
      CHECK(least.row_dual[std::size_t(i)] + least.column_dual[std::size_t(j)] <=
            cost(i, j) + margin);
}

TEST_CASE("an assignment finds a permutation that is hidden in a matrix, at any size") {
  const auto n = Index(GENERATE(1, 2, 3, 17, 64, 130));
  const auto p = Permutation::random(n, RandomKey(std::uint64_t(n)));
  auto cost = test::random_matrix<double>(n, n, 3, 0, 1);
  for (Index i = 0; i < n; ++i) cost(i, p[i]) = -1;
  AssignmentSolver solver;
  CHECK(Permutation(solver.solve(cost).row_to_column) == p);
}
