// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief Linear assignment: dense, exact, square or rectangular.

namespace comet {

/// What an assignment optimises.
enum class Goal { minimize, maximize };

/// \brief An optimal assignment and its proof.
///
/// The duals u (rows) and v (columns) solve the dual problem: when minimising, u[i] + v[j] <=
/// cost(i, j) for every pair, with equality for assigned ones, and the side that has members left
/// over has duals <= 0, which are 0 for those left over; when maximising, the same with >=. Hence
/// the duals sum to `cost`, up to rounding.
struct Assignment {
  std::vector<ExpertId> row_to_column;  ///< the column of every row, -1 for a row left over
  double cost = 0;                      ///< sum of cost(i, row_to_column[i]), in row order
  std::vector<double> row_dual;         ///< One potential per row.
  std::vector<double> column_dual;      ///< One potential per column.
};

/// \brief Solves linear assignment problems: choose min(rows, columns) entries of a cost matrix, no
/// two in the same row or column, with the smallest (or largest) sum.
///
/// Shortest augmenting paths (Jonker and Volgenant, Computing 38, 1987). Agents, the smaller side,
/// first bid for tasks against falling prices, which assigns most of them; each of the rest is
/// assigned by one run of Dijkstra's algorithm over dense rows of reduced costs. Two choices make
/// the inner loop a plain vectorised d = min(d, c - price - offset): finished tasks are excluded by
/// a price of -infinity rather than by a list of indices, and predecessors are not recorded but
/// found again from the distances, for the tasks on the path alone.
///
/// Everything is computed in double, so a float matrix is solved exactly as given. Of several
/// optimal assignments, the same one is returned for the same matrix.
///
/// The solver keeps its scratch memory: a call allocates only if its sizes exceed those before.
///
/// \par Cost
/// O(s^2 l) time for s = min(rows, columns) and l = max(rows, columns), and s l doubles of scratch.
/// The cost matrix may have any storage order and may be an expression: it is read once, into
/// scratch.
/// \par Threads
/// One solver per thread.
class AssignmentSolver {
 public:
  /// \param cost rows x columns. A forbidden pair is +infinity when minimising and -infinity when
  /// maximising. Either size may be 0.
  /// \return the result, valid until the next call
  /// \throws std::invalid_argument if an entry is nan, an infinity of the wrong sign or a number
  /// beyond +-1e300, or if forbidden pairs leave no assignment
  template <class Derived>
  const Assignment& solve(const Eigen::MatrixBase<Derived>& cost, Goal goal = Goal::minimize) {
    const bool agents_are_rows = cost.rows() < cost.cols();
    const double sign = goal == Goal::minimize ? 1.0 : -1.0;
    reset(std::min(cost.rows(), cost.cols()), std::max(cost.rows(), cost.cols()));
    if (agents_are_rows)
      costs().topRows(tasks_) = sign * cost.template cast<double>().transpose();
    else
      costs().topRows(tasks_) = sign * cost.template cast<double>();
    check_entries(agents_are_rows, sign);

    if (agents_ == tasks_) lower_prices_to_least_costs();
    bid();
    for (const Index agent : unassigned_) augment(agent);

    store_result(agents_are_rows, sign);
    return result_;
  }

 private:
  static constexpr double infinity = std::numeric_limits<double>::infinity();
  /// Prices are sums of differences of costs: they stay finite, unlike forbidden pairs.
  static constexpr double largest = 1e300;
  static constexpr Index none = -1;
  /// Tasks are padded with forbidden ones to whole blocks. The least value of every block is kept,
  /// which shows where the minimum is without a second look at every task.
  static constexpr Index block_size = 16;

  using Block = Eigen::Map<Eigen::Array<double, block_size, 1>>;

  struct Place {
    Index task = none;
    double value = infinity;
  };
  /// An agent whose costs Dijkstra's algorithm has scanned: the distance of a task through it is
  /// (cost - price) - offset.
  struct Scanned {
    Index agent;
    double offset;
  };
  /// A task whose distance is final, and its price before this run.
  struct Finished {
    Index task;
    double distance;
    double price;
  };

  Eigen::Map<Matrix<double>> costs() { return {cost_.data(), padded_tasks_, agents_}; }
  [[nodiscard]] double cost(Index task, Index agent) const {
    return cost_[static_cast<std::size_t>(task + agent * padded_tasks_)];
  }
  [[nodiscard]] double& price(Index task) { return price_[static_cast<std::size_t>(task)]; }
  [[nodiscard]] Index& agent_of(Index task) { return agent_of_[static_cast<std::size_t>(task)]; }
  [[nodiscard]] Index& task_of(Index agent) { return task_of_[static_cast<std::size_t>(agent)]; }
  [[nodiscard]] bool is_taken(Index task) { return agent_of(task) != none; }

  void reset(Index agents, Index tasks) {
    detail::check_at_most("AssignmentSolver::solve", "the larger side of cost", tasks,
                          "the largest ExpertId", std::numeric_limits<ExpertId>::max());
    agents_ = agents;
    tasks_ = tasks;
    padded_tasks_ = (tasks + block_size - 1) / block_size * block_size;
    const auto padded = static_cast<std::size_t>(padded_tasks_);
    cost_.resize(padded * static_cast<std::size_t>(agents));
    costs().bottomRows(padded_tasks_ - tasks).setConstant(infinity);
    price_.assign(padded, 0.0);
    distance_.resize(padded);
    block_minimum_.resize(padded / block_size);
    agent_of_.assign(static_cast<std::size_t>(tasks), none);
    task_of_.assign(static_cast<std::size_t>(agents), none);
    unassigned_.clear();
    unassigned_.reserve(static_cast<std::size_t>(agents));
    scanned_.reserve(static_cast<std::size_t>(agents) + 1);
    finished_.reserve(static_cast<std::size_t>(agents));
  }

  void check_entries(bool agents_are_rows, double sign) {
    const auto fits = [](const auto& value) {
      // Neither nan nor -infinity: the comparison is false for both.
      return value >= -largest && (value <= largest || value == infinity);
    };
    if (fits(costs().array()).all()) [[likely]]
      return;
    for (Index agent = 0; agent < agents_; ++agent)
      for (Index task = 0; task < tasks_; ++task) {
        const double value = cost(task, agent);
        if (fits(value)) continue;
        const std::string numbers =
            std::isfinite(value) ? "a number of size 1e+300 at most" : "a finite number";
        detail::raise("AssignmentSolver::solve",
                      "cost(" + std::to_string(agents_are_rows ? agent : task) + ", " +
                          std::to_string(agents_are_rows ? task : agent) + ")",
                      sign * value,
                      numbers + (sign > 0 ? ", or inf for a forbidden pair"
                                          : ", or -inf for a forbidden pair"));
      }
  }

  /// A good start for square problems. (With tasks to spare, those left over must keep price 0.)
  void lower_prices_to_least_costs() {
    auto least = Eigen::Map<Eigen::ArrayXd>(distance_.data(), tasks_);
    least.setConstant(infinity);
    for (Index agent = 0; agent < agents_; ++agent)
      least = least.min(costs().col(agent).head(tasks_).array());
    if (!(least < infinity).all()) raise_infeasible();
    Eigen::Map<Eigen::ArrayXd>(price_.data(), tasks_) = least;
  }

  /// Calls f(block of distances, block of costs, block of prices) and notes the least distance.
  template <class F>
  void update_distances(Index agent, F&& f) {
    const double* costs_of_agent = cost_.data() + agent * padded_tasks_;
    for (std::size_t b = 0; b < block_minimum_.size(); ++b) {
      const std::size_t first = b * block_size;
      Block distance(distance_.data() + first);
      f(distance, Eigen::Map<const Block::PlainObject>(costs_of_agent + first),
        Eigen::Map<const Block::PlainObject>(price_.data() + first));
      block_minimum_[b] = distance.minCoeff();
    }
  }

  /// The task of least distance; among equals the first that is not taken, else the first.
  Place nearest() {
    Place best;
    for (const double value : block_minimum_) best.value = std::min(best.value, value);
    if (best.value == infinity) return best;
    for (std::size_t b = 0; b < block_minimum_.size(); ++b) {
      if (block_minimum_[b] != best.value) continue;
      for (std::size_t t = b * block_size; t < (b + 1) * block_size; ++t) {
        if (distance_[t] != best.value) continue;
        const auto task = static_cast<Index>(t);
        if (!is_taken(task)) return {task, best.value};
        if (best.task == none) best.task = task;
      }
    }
    return best;
  }

  /// Takes a task out of the search.
  void exclude(Index task) {
    distance_[static_cast<std::size_t>(task)] = infinity;
    const Index b = task / block_size;
    block_minimum_[static_cast<std::size_t>(b)] =
        Block(distance_.data() + b * block_size).minCoeff();
  }

  /// Every agent asks for its best task. If that beats its second best, it lowers the price by the
  /// difference and takes the task from whoever has it, who bids next. Who finds only ties that are
  /// taken is left to `augment`. Price wars are cut short: bids are limited in number.
  void bid() {
    Index bids_left = 4 * agents_;
    for (Index first = 0; first < agents_; ++first) {
      Index agent = first;
      while (agent != none) {
        update_distances(
            agent, [](auto& distance, const auto& c, const auto& price) { distance = c - price; });
        const Place best = nearest();
        if (best.task == none) raise_infeasible();
        exclude(best.task);
        const double second = nearest().value;

        Index next = none;
        if (!is_taken(best.task)) {
          if (second < infinity) price(best.task) -= second - best.value;
        } else if (bids_left > 0 && best.value < second && second < infinity) {
          price(best.task) -= second - best.value;
          next = agent_of(best.task);
          --bids_left;
        } else {
          unassigned_.push_back(agent);
          break;
        }
        agent_of(best.task) = agent;
        task_of(agent) = best.task;
        if (next != none) task_of(next) = none;
        agent = next;
      }
    }
  }

  /// Dijkstra's algorithm from a free agent to the nearest free task; then everybody on the path
  /// moves on by one task, and prices fall so that the assignment stays optimal for those assigned.
  void augment(Index agent) {
    std::fill(distance_.begin(), distance_.end(), infinity);
    scanned_.clear();
    finished_.clear();
    Scanned next{agent, 0.0};
    Place place;
    while (true) {
      scanned_.push_back(next);
      update_distances(next.agent, [&](auto& distance, const auto& c, const auto& price) {
        distance = distance.min((c - price) - next.offset);
      });
      place = nearest();
      if (place.task == none) raise_infeasible();
      if (!is_taken(place.task)) break;
      finished_.push_back({place.task, place.value, price(place.task)});
      next.agent = agent_of(place.task);
      next.offset = (cost(place.task, next.agent) - price(place.task)) - place.value;
      price(place.task) = -infinity;
      distance_[static_cast<std::size_t>(place.task)] = infinity;
    }
    for (const Finished& f : finished_) price(f.task) = f.price;

    // finished_[i].task belongs to scanned_[i + 1].agent and was reached from one of
    // scanned_[0..i]: the one through which it is nearest.
    Index task = place.task;
    std::size_t candidates = scanned_.size();
    while (true) {
      std::size_t from = 0;
      double nearest_distance = infinity;
      for (std::size_t i = 0; i < candidates; ++i) {
        const double distance = (cost(task, scanned_[i].agent) - price(task)) - scanned_[i].offset;
        if (distance < nearest_distance) {
          nearest_distance = distance;
          from = i;
        }
      }
      agent_of(task) = scanned_[from].agent;
      task_of(scanned_[from].agent) = task;
      if (from == 0) break;
      task = finished_[from - 1].task;
      candidates = from;
    }
    for (const Finished& f : finished_) price(f.task) += f.distance - place.value;
  }

  [[noreturn]] static void raise_infeasible() {
    detail::raise("AssignmentSolver::solve",
                  "the forbidden pairs of cost leave no complete assignment");
  }

  void store_result(bool agents_are_rows, double sign) {
    std::vector<double>& agent_dual = agents_are_rows ? result_.row_dual : result_.column_dual;
    std::vector<double>& task_dual = agents_are_rows ? result_.column_dual : result_.row_dual;
    agent_dual.resize(static_cast<std::size_t>(agents_));
    task_dual.resize(static_cast<std::size_t>(tasks_));
    for (Index agent = 0; agent < agents_; ++agent)
      agent_dual[static_cast<std::size_t>(agent)] =
          sign * (cost(task_of(agent), agent) - price(task_of(agent)));
    for (Index task = 0; task < tasks_; ++task)
      task_dual[static_cast<std::size_t>(task)] = sign * price(task);

    const std::vector<Index>& column_of = agents_are_rows ? task_of_ : agent_of_;
    result_.row_to_column.resize(column_of.size());
    result_.cost = 0;
    for (std::size_t row = 0; row < column_of.size(); ++row) {
      const Index column = column_of[row];
      result_.row_to_column[row] = static_cast<ExpertId>(column);
      if (column == none) continue;
      const auto i = static_cast<Index>(row);
      result_.cost += sign * (agents_are_rows ? cost(column, i) : cost(i, column));
    }
  }

  Index agents_ = 0;
  Index tasks_ = 0;
  Index padded_tasks_ = 0;
  std::vector<double> cost_;           ///< padded tasks x agents, column-major
  std::vector<double> price_;          ///< dual variable of every task
  std::vector<double> distance_;       ///< of every task from the agent in hand
  std::vector<double> block_minimum_;  ///< of distance_
  std::vector<Index> agent_of_;
  std::vector<Index> task_of_;
  std::vector<Index> unassigned_;
  std::vector<Scanned> scanned_;
  std::vector<Finished> finished_;
  Assignment result_;
};

/// \brief `AssignmentSolver::solve` for a single use.
/// \code
///   const Permutation hard(assign(soft, Goal::maximize).row_to_column);
/// \endcode
template <class Derived>
[[nodiscard]] Assignment assign(const Eigen::MatrixBase<Derived>& cost,
                                Goal goal = Goal::minimize) {
  return AssignmentSolver().solve(cost, goal);
}

}  // namespace comet
