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

#include <two_pictures/data/examples.hpp>
#include <two_pictures/model/model.hpp>

namespace programs::two_pictures {

/// \brief The loss of some validation examples as a function of the experts' order: what a swap
/// search minimises.
class HeldOutObjective {
 public:
  /// Spreads `count` examples evenly over the validation split. \param model  not owned
  HeldOutObjective(const Model& model, const Examples& validation, std::size_t count);

  void start(const std::vector<Model::Gate>& gates);
  void move_to(std::span<const comet::ExpertId> order) { mixtures_->move_to(order); }
  double loss(std::span<const comet::ExpertId> order) { return mixtures_->loss(order); }

 private:
  using Mixtures =
      comet::MixtureObjective<Model::Expert, std::function<double(const Matrix<float>&)>>;

  const Model* model_;
  Matrix<float> pixels_;
  std::vector<std::int32_t> picture_, labels_;
  Model::Pass pass_;
  std::optional<Mixtures> mixtures_;
};

}  // namespace programs::two_pictures
