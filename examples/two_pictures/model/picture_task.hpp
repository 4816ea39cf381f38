// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/distributed/reduce_gradients.hpp>

#include <programs/base/figures.hpp>
#include <programs/base/ranks.hpp>
#include <two_pictures/data/batches.hpp>
#include <two_pictures/data/dataset.hpp>
#include <two_pictures/model/evaluation.hpp>
#include <two_pictures/model/held_out_objective.hpp>
#include <two_pictures/model/model.hpp>

namespace programs::two_pictures {

/// \brief The model on its pictures: what a training needs of both.
class PictureTask {
 public:
  using Model = two_pictures::Model;

  /// \param model, data  not owned
  /// \param pool         not owned, may be null
  /// \param ranks        that share the canvases of a batch; not owned, null of a process alone
  PictureTask(Model& model, const Dataset& data, std::size_t batch_size, comet::ThreadPool* pool,
              Ranks* ranks = nullptr);

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

  [[nodiscard]] Figures validate() { return validation_.evaluate(*model_, pass_, ranks_); }
  [[nodiscard]] Figures test();

  /// The validation loss as a function of the experts' order, on so many examples.
  [[nodiscard]] HeldOutObjective held_out_objective(std::size_t examples) const {
    return HeldOutObjective(*model_, data_->validation, examples);
  }

 private:
  Model* model_;
  const Dataset* data_;
  std::size_t batch_size_;
  Ranks* ranks_;
  comet::ReduceBuffers<float> reduce_;
  Model::Pass pass_;
  std::vector<std::int32_t> labels_;  // of the piece here
  Batches batches_;
  Evaluator validation_;
};

}  // namespace programs::two_pictures
