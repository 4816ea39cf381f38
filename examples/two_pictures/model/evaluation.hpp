// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include <programs/base/figures.hpp>
#include <programs/base/gate_load.hpp>
#include <programs/base/ranks.hpp>
#include <two_pictures/data/batches.hpp>
#include <two_pictures/model/answers.hpp>
#include <two_pictures/model/model.hpp>

namespace programs::two_pictures {

/// Rows over their sums: of experts_by_class(), the weight of each expert for a class.
[[nodiscard]] Matrix<double> shares_of_rows(const Matrix<double>& together);

/// \brief Predicts a whole split and scores it.
class Evaluator {
 public:
  Evaluator(const Examples& examples, std::size_t batch_size);

  /// \throws comet::NotFinite for a model that has diverged
  /// \param ranks  that share the batches, may be null: what follows is of the batches here then
  Figures evaluate(const Model& model, Model::Pass& pass, Ranks* ranks = nullptr);

  /// Of the last evaluate(), per task.
  [[nodiscard]] const std::vector<Answers>& answers() const { return answers_; }
  /// \brief Of the last evaluate(), per task: classes x experts, the canvases of a class divided
  /// among their experts by weight.
  [[nodiscard]] const std::vector<Matrix<double>>& experts_by_class() const {
    return experts_by_class_;
  }

 private:
  void count(const Model& model, const Model::Pass& pass, const Batch& batch);

  const Examples* examples_;
  Batches batches_;
  std::vector<Answers> answers_;                  // per task
  std::vector<GateLoad> loads_;                   // per task
  std::vector<Matrix<double>> experts_by_class_;  // per task
  double multiply_adds_ = 0;
};

}  // namespace programs::two_pictures
