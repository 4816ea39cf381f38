// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>

#include <bert/model/bert.hpp>
#include <bert/model/network.hpp>
#include <bert/model/study_data.hpp>
#include <programs/base/figures.hpp>

namespace programs::bert {

/// \brief A model on a task, with a teacher or without: what a training needs of them.
class BertTask {
 public:
  using Model = Bert<float>;
  /// Experts of different layers have nothing to do with each other.
  static constexpr bool has_own_orders = true;

  /// \param model, teacher, data  not owned; no teacher if null
  BertTask(Model& model, const Model* teacher, const StudyData& data, const Objective& objective,
           Index batch_size);

  [[nodiscard]] Model& model() noexcept { return *model_; }
  /// Of the last batch as it was trained, without padding, one a layer.
  [[nodiscard]] const std::vector<comet::Routing<float>>& routings() const { return routings_; }
  /// The passes of the model's gates.
  [[nodiscard]] auto gate_passes() const { return model_->gate_passes(); }

  /// Of an epoch.
  [[nodiscard]] std::size_t num_batches() const noexcept { return num_batches_; }
  void shuffle(comet::RandomKey epoch_key);
  /// \param gradients  of the model, added to
  TrainingLoss accumulate_gradients(std::size_t b, comet::RandomKey key,
                                    comet::GradientView<float> gradients);

  /// On the dev rows, all that are held out: nothing is chosen by them, so they are the test, too.
  /// With `trained_tokens_per_second` in the last epoch, as far as this process has trained it.
  [[nodiscard]] Figures validate();
  [[nodiscard]] Figures test() { return validate(); }

 private:
  using Clock = std::chrono::steady_clock;

  Model* model_;
  const Model* teacher_;
  const StudyData* data_;
  Objective objective_;
  Index batch_size_;
  std::size_t num_batches_;
  std::vector<std::vector<std::int32_t>> batches_;
  std::vector<comet::Routing<float>> routings_;
  // Of the epoch.
  Clock::time_point start_ = {}, end_ = {};
  Index tokens_ = 0;
};

}  // namespace programs::bert
