// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <comet/core/gradients.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/distributed/reduce_gradients.hpp>

#include <next_character/data/text.hpp>
#include <next_character/data/windows.hpp>
#include <next_character/model/evaluation.hpp>
#include <next_character/model/model.hpp>
#include <programs/base/figures.hpp>
#include <programs/base/ranks.hpp>

namespace programs::next_character {

/// \brief The model on a text: what a training needs of both.
///
/// A text is long: no training gets to its end. An "epoch" is so many batches of places drawn at
/// random, and ends with a validation.
class CharacterTask {
 public:
  using Model = next_character::Model;

  /// Places that are predicted to validate, and of what is held out.
  static constexpr std::size_t validation_places = std::size_t{1} << 16;
  static constexpr std::size_t test_places = std::size_t{1} << 19;

  /// \param model, text  not owned
  /// \param epoch        batches
  /// \param pool         not owned, may be null
  /// \param ranks        that share the places of a batch; not owned, null of a process alone
  CharacterTask(Model& model, const Text& text, Index window, std::size_t batch_size,
                std::size_t epoch, comet::ThreadPool* pool, Ranks* ranks = nullptr);

  [[nodiscard]] Model& model() noexcept { return *model_; }
  /// Of the last batch, by the model's gate.
  [[nodiscard]] auto routings() const { return pass_.workspace.mixture().routings(); }
  /// The pass of the model's gate.
  [[nodiscard]] std::span<const comet::Pass<Model::Gate>> gate_passes() const {
    return pass_.workspace.mixture().gates();
  }

  /// Of an epoch.
  [[nodiscard]] std::size_t num_batches() const noexcept { return epoch_; }
  /// Every epoch draws its places anew.
  void shuffle(RandomKey epoch_key) { epoch_key_ = epoch_key; }

  /// \param gradients  of the model, added to
  TrainingLoss accumulate_gradients(std::size_t b, RandomKey key,
                                    comet::GradientView<float> gradients);

  [[nodiscard]] Figures validate() { return validation_.evaluate(*model_, pass_, ranks_); }
  [[nodiscard]] Figures test();

  /// What the model makes of the text by now: a line of it.
  [[nodiscard]] std::string remark();

 private:
  Model* model_;
  const Text* text_;
  Index window_;
  std::size_t batch_size_;
  std::size_t epoch_;
  Ranks* ranks_;
  comet::ReduceBuffers<float> reduce_;
  RandomKey epoch_key_{0};
  Model::Pass pass_;
  Windows train_;
  Evaluator validation_;
};

}  // namespace programs::next_character
