// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
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

namespace movielens {

/// \brief The loss of some validation rows as a function of the experts' order: what a swap search
/// minimises.
template <class Gate>
class HeldOutObjective {
 public:
  using Model = TwoTaskModel<Gate>;
  using S = typename Model::S;

  /// Spreads `count` rows evenly over the validation split.
  HeldOutObjective(const Model& model, const TwoTaskRows& validation, std::size_t count,
                   TaskWeights weights)
      : model_(&model), weights_(weights) {
    count = std::min(count, validation.size());
    watched_.resize(1, Index(count));
    rating_.resize(1, Index(count));
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t row = i * validation.size() / count;
      users_.push_back(validation.user[row]);
      items_.push_back(validation.item[row]);
      watched_(0, Index(i)) = validation.watched[row];
      rating_(0, Index(i)) = validation.rating[row];
    }
  }

  template <class Gates>
  void start(const Gates& gates) {
    mixtures_.emplace(model_->mixture().experts(), model_->features(users_, items_), items_,
                      [this](const Matrix<S>& mixtures) {
                        return model_->loss_of_mixtures(mixtures, watched_, rating_, weights_,
                                                        workspace_);
                      });
    mixtures_->start(gates);
  }
  void move_to(std::span<const comet::ExpertId> order) { mixtures_->move_to(order); }
  double loss(std::span<const comet::ExpertId> order) { return mixtures_->loss(order); }

 private:
  using Mixtures =
      comet::MixtureObjective<comet::DenseExpert<S>, std::function<double(const Matrix<S>&)>>;

  const Model* model_;
  TaskWeights weights_;
  std::vector<std::int32_t> users_, items_;
  Matrix<S> watched_, rating_;  // 1 x rows
  typename Model::Workspace workspace_;
  std::optional<Mixtures> mixtures_;
};

}  // namespace movielens
