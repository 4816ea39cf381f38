// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <movielens/model/model.hpp>

namespace programs::movielens {

/// \brief What distinguishes an item from the others that a user could be offered, in the gates'
/// terms: the experts that are asked, and the split of a tree that sends it elsewhere.
class Reasons {
 public:
  /// \param others  items of the same user; some of them, evenly spread, stand for all
  Reasons(const Model& model, std::int32_t user, std::span<const std::int32_t> others);

  /// Three lines: the experts of both tasks, and the largest difference along the way.
  [[nodiscard]] std::array<std::string, 3> of(std::int32_t item);

 private:
  using Split = std::pair<Index, Index>;  // tree and number
  struct Task {
    std::vector<double> weight;    // per expert
    std::map<Split, double> left;  // share that goes left
  };
  using Tasks = std::array<Task, Model::num_tasks>;

  [[nodiscard]] Tasks tasks_of(std::int32_t item);

  const Model& model_;
  std::int32_t user_;
  Model::Pass pass_;
  Tasks typical_;  // means over the others; of a split, over those that come there
};

}  // namespace programs::movielens
