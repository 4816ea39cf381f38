// SPDX-License-Identifier: MIT
#include <two_pictures/model/picture_task.hpp>

#include <string>

#include <comet/distributed/collectives.hpp>

#include <programs/base/piece.hpp>
#include <programs/training/shared_batch.hpp>

namespace programs::two_pictures {

PictureTask::PictureTask(Model& model, const Dataset& data, std::size_t batch_size,
                         comet::ThreadPool* pool, Ranks* ranks)
    : model_(&model),
      data_(&data),
      batch_size_(batch_size),
      ranks_(ranks),
      pass_(model, pool),
      batches_(data.train, batch_size),
      validation_(data.validation, batch_size) {
  if (ranks != nullptr) pass_.rank_sum = comet::make_rank_sum(*ranks);
}

TrainingLoss PictureTask::accumulate_gradients(std::size_t b, RandomKey key,
                                               comet::GradientView<float> gradients) {
  const Batch whole = batches_[b];
  pass_.borrow(gradients);
  const comet::IndexRange rows = share_of(Index(whole.size()), ranks_);
  const Batch batch = ranks_ == nullptr ? whole : piece(whole, rows, labels_);
  const Piece here = piece_of(rows, Index(whole.size()));
  const Loss loss =
      model_->accumulate_gradients(batch.pixels, batch.picture, batch.labels, key, pass_, here);
  const auto tasks = std::size_t(model_->num_tasks());
  TrainingLoss sums{.total = loss.total, .parts = {}, .penalty = loss.penalty};
  for (std::size_t task = 0; task < tasks; ++task)
    sums.parts.push_back({.name = "cross_entropy_" + std::to_string(task + 1),
                          .value = here.share * loss.cross_entropy[task]});
  if (ranks_ == nullptr) return sums;
  comet::reduce_gradients(*ranks_, *model_, gradients, comet::SumOrder::ranks, reduce_);
  sum_parts(*ranks_, sums);
  sums.total = sums.penalty;
  for (const Measure& part : sums.parts) sums.total += part.value / double(tasks);
  return sums;
}

Figures PictureTask::test() {
  return Evaluator(data_->test, batch_size_).evaluate(*model_, pass_, ranks_);
}

}  // namespace programs::two_pictures
