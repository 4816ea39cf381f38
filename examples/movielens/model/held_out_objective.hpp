// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include <comet/core/types.hpp>
#include <comet/local_search/mixture_objective.hpp>

#include <movielens/data/two_task.hpp>
#include <movielens/model/model.hpp>

namespace programs::movielens {

/// \brief The loss of some validation rows as a function of the experts' order: what a swap search
/// minimises.
class HeldOutObjective {
 public:
  /// Spreads `count` rows evenly over the validation split. \param model  not owned
  HeldOutObjective(const Model& model, const TwoTaskRows& validation, std::size_t count,
                   TaskWeights weights);

  void start(const std::vector<Model::Gate>& gates);
  void move_to(std::span<const comet::ExpertId> order) { mixtures_->move_to(order); }
  double loss(std::span<const comet::ExpertId> order) { return mixtures_->loss(order); }

 private:
  using Mixtures = comet::MixtureObjective<comet::DenseExpert<float>,
                                           std::function<double(const Matrix<float>&)>>;

  const Model* model_;
  TaskWeights weights_;
  std::vector<std::int32_t> users_, items_;
  Matrix<float> watched_, rating_;  // 1 x rows
  Model::Pass pass_;
  std::optional<Mixtures> mixtures_;
};

}  // namespace programs::movielens
