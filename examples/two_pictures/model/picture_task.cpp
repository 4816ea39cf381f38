// SPDX-License-Identifier: MIT
#include <two_pictures/model/picture_task.hpp>

#include <string>

namespace programs::two_pictures {

PictureTask::PictureTask(Model& model, const Dataset& data, std::size_t batch_size,
                         comet::ThreadPool* pool)
    : model_(&model),
      data_(&data),
      batch_size_(batch_size),
      pass_(model, pool),
      batches_(data.train, batch_size),
      validation_(data.validation, batch_size) {}

TrainingLoss PictureTask::accumulate_gradients(std::size_t b, RandomKey key,
                                               comet::GradientView<float> gradients) {
  const Batch batch = batches_[b];
  pass_.borrow(gradients);
  const Loss loss =
      model_->accumulate_gradients(batch.pixels, batch.picture, batch.labels, key, pass_);
  TrainingLoss sums{.total = loss.total, .parts = {}, .penalty = loss.penalty};
  for (std::size_t task = 0; task < std::size_t(model_->num_tasks()); ++task)
    sums.parts.push_back(
        {.name = "cross_entropy_" + std::to_string(task + 1), .value = loss.cross_entropy[task]});
  return sums;
}

Figures PictureTask::test() { return Evaluator(data_->test, batch_size_).evaluate(*model_, pass_); }

}  // namespace programs::two_pictures
