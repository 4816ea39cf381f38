// SPDX-License-Identifier: MIT
#include <two_pictures/model/held_out_objective.hpp>

#include <algorithm>

#include <comet/core/samples.hpp>

namespace programs::two_pictures {

HeldOutObjective::HeldOutObjective(const Model& model, const Examples& validation,
                                   std::size_t count)
    : model_(&model) {
  count = std::min(count, std::size_t(validation.size()));
  pixels_.resize(validation.height() * validation.width(), Index(count));
  labels_.resize(count * std::size_t(validation.num_tasks()));
  for (std::size_t i = 0; i < count; ++i) {
    const auto example = Index(i * std::size_t(validation.size()) / count);
    auto column = pixels_.col(Index(i));
    validation.draw(example, std::span(column.data(), std::size_t(column.size())));
    picture_.push_back(validation.picture(0, example));
    for (Index task = 0; task < validation.num_tasks(); ++task)
      labels_[std::size_t(task) * count + i] = validation.label(task, example);
  }
}

void HeldOutObjective::start(const std::vector<Model::Gate>& gates) {
  mixtures_.emplace(model_->mixture().experts(), comet::Samples<float>(pixels_, picture_),
                    [this](const Matrix<float>& mixtures) {
                      return model_->loss_of_mixtures(mixtures, labels_, pass_);
                    });
  mixtures_->start(gates);
}

}  // namespace programs::two_pictures
