// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>

#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>

#include <movielens/base/figures.hpp>
#include <movielens/data/batches.hpp>
#include <movielens/data/two_task.hpp>
#include <movielens/model/evaluation.hpp>
#include <movielens/model/held_out_objective.hpp>
#include <movielens/model/model.hpp>

namespace movielens {

/// \brief The model on its rows: what a training needs of both.
template <class Gate>
class TwoTask {
 public:
  using Model = TwoTaskModel<Gate>;
  using Scalar = typename Gate::Scalar;

  /// \param model, data  not owned
  /// \param pool         not owned, may be null
  TwoTask(Model& model, const TwoTaskData& data, std::size_t batch_size, TaskWeights weights,
          comet::ThreadPool* pool)
      : model_(&model),
        data_(&data),
        batch_size_(batch_size),
        weights_(weights),
        workspace_(pool),
        batches_(data.train, batch_size),
        validation_(data.validation, batch_size) {}

  [[nodiscard]] Model& model() noexcept { return *model_; }
  [[nodiscard]] auto& gates() noexcept { return model_->mixture().gates(); }

  /// Of an epoch.
  [[nodiscard]] std::size_t num_batches() const noexcept { return batches_.size(); }
  void shuffle(RandomKey epoch_key) { batches_.shuffle(epoch_key); }

  TrainingLoss accumulate_gradients(std::size_t b, RandomKey key) {
    const Batch batch = batches_[b];
    const Loss loss = model_->accumulate_gradients(batch.user, batch.item, row(batch.watched),
                                                   row(batch.rating), weights_, key, workspace_);
    return {.total = loss.total,
            .parts = {{"bce", loss.watched}, {"mse", loss.rating}},
            .penalty = loss.penalty};
  }

  /// Of the last batch, mean over the gates.
  [[nodiscard]] double experts_per_sample() const {
    double sum = 0;
    for (Index task = 0; task < Index(Model::num_tasks); ++task) {
      const auto& routing = workspace_.mixture().routing(task);
      sum += double(routing.num_entries()) / double(routing.num_samples());
    }
    return sum / double(Model::num_tasks);
  }

  Figures validate() { return validation_.evaluate(*model_, weights_, workspace_); }
  Figures test() {
    return Evaluator<Gate>(data_->test, batch_size_).evaluate(*model_, weights_, workspace_);
  }

  /// The validation loss as a function of the experts' order, on so many rows.
  [[nodiscard]] HeldOutObjective<Gate> held_out_objective(std::size_t rows) const {
    return HeldOutObjective<Gate>(*model_, data_->validation, rows, weights_);
  }

 private:
  static auto row(std::span<const float> values) {
    return Eigen::Map<const Matrix<Scalar>>(values.data(), 1, Index(values.size()));
  }

  Model* model_;
  const TwoTaskData* data_;
  std::size_t batch_size_;
  TaskWeights weights_;
  typename Model::Workspace workspace_;
  Batches batches_;
  Evaluator<Gate> validation_;
};

}  // namespace movielens
