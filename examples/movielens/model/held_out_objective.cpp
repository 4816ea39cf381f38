// SPDX-License-Identifier: MIT
#include <movielens/model/held_out_objective.hpp>

#include <algorithm>

#include <comet/core/samples.hpp>

namespace programs::movielens {

HeldOutObjective::HeldOutObjective(const Model& model, const TwoTaskRows& validation,
                                   std::size_t count, TaskWeights weights)
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

void HeldOutObjective::start(const std::vector<Model::Gate>& gates) {
  const Matrix<float> x = model_->features(users_, items_);
  mixtures_.emplace(model_->mixture().experts(), comet::Samples<float>(x, items_),
                    [this](const Matrix<float>& mixtures) {
                      return model_->loss_of_mixtures(mixtures, watched_, rating_, weights_, pass_);
                    });
  mixtures_->start(gates);
}

}  // namespace programs::movielens
