// SPDX-License-Identifier: MIT
#include <movielens/model/two_task.hpp>

namespace programs::movielens {
namespace {

auto row(std::span<const float> values) {
  return Eigen::Map<const Matrix<float>>(values.data(), 1, Index(values.size()));
}

}  // namespace

TwoTask::TwoTask(Model& model, const TwoTaskData& data, std::size_t batch_size, TaskWeights weights,
                 comet::ThreadPool* pool)
    : model_(&model),
      data_(&data),
      batch_size_(batch_size),
      weights_(weights),
      pass_(model, pool),
      batches_(data.train, batch_size),
      validation_(data.validation, batch_size) {}

TrainingLoss TwoTask::accumulate_gradients(std::size_t b, RandomKey key,
                                           comet::GradientView<float> gradients) {
  const Batch batch = batches_[b];
  pass_.borrow(gradients);
  const Loss loss = model_->accumulate_gradients(batch.user, batch.item, row(batch.watched),
                                                 row(batch.rating), weights_, key, pass_);
  return {.total = loss.total,
          .parts = {{"bce", loss.watched}, {"mse", loss.rating}},
          .penalty = loss.penalty};
}

Figures TwoTask::test() {
  return Evaluator(data_->test, batch_size_).evaluate(*model_, weights_, pass_);
}

}  // namespace programs::movielens
