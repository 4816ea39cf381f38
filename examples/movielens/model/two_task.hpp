// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/distributed/reduce_gradients.hpp>

#include <movielens/data/batches.hpp>
#include <movielens/data/two_task.hpp>
#include <movielens/model/evaluation.hpp>
#include <movielens/model/held_out_objective.hpp>
#include <movielens/model/model.hpp>
#include <programs/base/figures.hpp>
#include <programs/base/ranks.hpp>

namespace programs::movielens {

/// \brief The model on its rows: what a training needs of both.
class TwoTask {
 public:
  using Model = movielens::Model;

  /// \param model, data  not owned
  /// \param pool         not owned, may be null
  /// \param ranks        that share the rows of a batch; not owned, null of a process alone
  TwoTask(Model& model, const TwoTaskData& data, std::size_t batch_size, TaskWeights weights,
          comet::ThreadPool* pool, Ranks* ranks = nullptr);

  [[nodiscard]] Model& model() noexcept { return *model_; }
  /// Of the last batch, one per gate.
  [[nodiscard]] auto routings() const { return pass_.workspace.mixture().routings(); }
  /// The passes of the model's gates.
  [[nodiscard]] std::span<const comet::Pass<Model::Gate>> gate_passes() const {
    return pass_.workspace.mixture().gates();
  }

  /// Of an epoch.
  [[nodiscard]] std::size_t num_batches() const noexcept { return batches_.size(); }
  void shuffle(RandomKey epoch_key) { batches_.shuffle(epoch_key); }

  /// \param gradients  of the model, added to
  TrainingLoss accumulate_gradients(std::size_t b, RandomKey key,
                                    comet::GradientView<float> gradients);

  [[nodiscard]] Figures validate() {
    return validation_.evaluate(*model_, weights_, pass_, ranks_);
  }
  [[nodiscard]] Figures test();

  /// The validation loss as a function of the experts' order, on so many rows.
  [[nodiscard]] HeldOutObjective held_out_objective(std::size_t rows) const {
    return HeldOutObjective(*model_, data_->validation, rows, weights_);
  }

 private:
  /// The same on ranks, each of which has a piece of the batch.
  TrainingLoss accumulate_on_ranks(const Batch& whole, RandomKey key,
                                   comet::GradientView<float> gradients);

  Model* model_;
  const TwoTaskData* data_;
  std::size_t batch_size_;
  TaskWeights weights_;
  Ranks* ranks_;
  comet::ReduceBuffers<float> reduce_;
  Model::Pass pass_;
  comet::Buffer<float> dx_;  // of the batch of all ranks
  Batches batches_;
  Evaluator validation_;
};

}  // namespace programs::movielens
