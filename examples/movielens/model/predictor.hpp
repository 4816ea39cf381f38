// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <span>
#include <vector>

#include <comet/core/storage.hpp>
#include <comet/core/thread_pool.hpp>

#include <movielens/data/two_task.hpp>
#include <movielens/model/model.hpp>
#include <movielens/model/model_file.hpp>
#include <movielens/model/reasons.hpp>
#include <programs/base/figures.hpp>

namespace programs::movielens {

/// \brief What a model says of some rows.
struct Predictions {
  std::vector<double> logits;  ///< of "watched"
  std::vector<double> stars;
};

/// \brief A trained model, to be asked.
class Predictor {
 public:
  /// \param storage  of the experts' weights
  /// \param threads  0 for all of the machine
  explicit Predictor(const ModelFile& file, comet::Storage storage = comet::Storage::full,
                     int threads = 0);

  [[nodiscard]] Predictions predict(const TwoTaskRows& rows);
  /// The figures of a split, and what they are made of.
  [[nodiscard]] Figures evaluate(const TwoTaskRows& rows, Predictions& predictions);
  /// What distinguishes an item of a user from the others. The predictor has to outlive it.
  [[nodiscard]] Reasons reasons(std::int32_t user, std::span<const std::int32_t> others) const {
    return Reasons(model_, user, others);
  }
  /// Writes, per task, the experts that a pair was sent to with their weights and, for gates that
  /// can tell, what was compared.
  void explain(std::int32_t user, std::int32_t item, std::ostream& out);

 private:
  TaskWeights weights_;
  std::size_t batch_size_;  // as in the training: some gates compare the samples of a batch
  comet::ThreadPool pool_;
  Model model_;
  Model::Pass pass_;
};

}  // namespace programs::movielens
