// SPDX-License-Identifier: MIT
#include <movielens/model/two_task.hpp>

#include <numeric>
#include <vector>

#include <comet/distributed/collectives.hpp>

#include <programs/training/shared_batch.hpp>

namespace programs::movielens {
namespace {

auto row(std::span<const float> values) {
  return Eigen::Map<const Matrix<float>>(values.data(), 1, Index(values.size()));
}

/// What a mean over a piece is worth in that over the whole: 1's here over 1's everywhere.
double share_of_ones(std::span<const float> piece, std::span<const float> whole) {
  const auto ones = [](std::span<const float> all) {
    return std::accumulate(all.begin(), all.end(), 0.0);
  };
  const double everywhere = ones(whole);
  return everywhere == 0 ? 0 : ones(piece) / everywhere;
}

}  // namespace

TwoTask::TwoTask(Model& model, const TwoTaskData& data, std::size_t batch_size, TaskWeights weights,
                 comet::ThreadPool* pool, Ranks* ranks)
    : model_(&model),
      data_(&data),
      batch_size_(batch_size),
      weights_(weights),
      ranks_(ranks),
      pass_(model, pool),
      batches_(data.train, batch_size),
      validation_(data.validation, batch_size) {
  if (ranks != nullptr) pass_.rank_sum = comet::make_rank_sum(*ranks);
}

TrainingLoss TwoTask::accumulate_gradients(std::size_t b, RandomKey key,
                                           comet::GradientView<float> gradients) {
  const Batch batch = batches_[b];
  pass_.borrow(gradients);
  if (ranks_ != nullptr) return accumulate_on_ranks(batch, key, gradients);
  const Loss loss = model_->accumulate_gradients(batch.user, batch.item, row(batch.watched),
                                                 row(batch.rating), weights_, key, pass_);
  return {.total = loss.total,
          .parts = {{"bce", loss.watched}, {"mse", loss.rating}},
          .penalty = loss.penalty};
}

/// Of the embeddings, a batch touches few rows: their gradients by these rows travel, in the order
/// of the batch, and every rank adds them up as one process would. All others are summed.
TrainingLoss TwoTask::accumulate_on_ranks(const Batch& whole, RandomKey key,
                                          comet::GradientView<float> gradients) {
  const comet::IndexRange rows = share_of(Index(whole.size()), ranks_);
  const Batch batch = whole.piece(rows);
  const double of_rows = double(batch.size()) / double(whole.size());
  const double of_ratings = share_of_ones(batch.watched, whole.watched);
  const Loss loss = model_->accumulate_above_embeddings(
      batch.user, batch.item, row(batch.watched), row(batch.rating),
      {.watched = of_rows * weights_.watched, .rating = of_ratings * weights_.rating}, key,
      rows.first, pass_);

  const auto dx = pass_.workspace.dx();
  std::vector<Index> counts;
  for (Index r = 0; r < ranks_->size(); ++r)
    counts.push_back(dx.rows() * comet::share_of(Index(whole.size()), r, ranks_->size()).size());
  auto dx_of_all = dx_.shape(dx.rows(), Index(whole.size()));
  comet::all_gather(*ranks_, std::span(dx.data(), std::size_t(dx.size())), counts,
                    std::span(dx_of_all.data(), std::size_t(dx_of_all.size())));
  model_->accumulate_embeddings(whole.user, whole.item, dx_of_all, pass_);
  const auto above = model_->above_embeddings();
  comet::reduce_gradients(*ranks_, above, gradients.middle(2, gradients.size() - 2),
                          comet::SumOrder::ranks, reduce_);

  TrainingLoss sum = {.parts = {{"bce", of_rows * loss.watched}, {"mse", of_ratings * loss.rating}},
                      .penalty = loss.penalty};
  sum_parts(*ranks_, sum);
  sum.total =
      weights_.watched * sum.parts[0].value + weights_.rating * sum.parts[1].value + sum.penalty;
  return sum;
}

Figures TwoTask::test() {
  return Evaluator(data_->test, batch_size_).evaluate(*model_, weights_, pass_, ranks_);
}

}  // namespace programs::movielens
