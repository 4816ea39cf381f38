// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <movielens/data/batches.hpp>
#include <movielens/data/two_task.hpp>
#include <movielens/model/model.hpp>
#include <programs/base/figures.hpp>
#include <programs/base/gate_load.hpp>
#include <programs/base/ranks.hpp>

namespace programs::movielens {

/// \brief Predicts a whole split and scores it, in double precision: a split has many rows.
class Evaluator {
 public:
  Evaluator(const TwoTaskRows& rows, std::size_t batch_size);

  /// Fills logits() and stars(). \param ranks  that share the batches, may be null
  void predict(const Model& model, Model::Pass& pass, Ranks* ranks = nullptr);

  /// Of "watched", one per row.
  [[nodiscard]] std::span<const double> logits() const { return {logits_.data(), rows_->size()}; }
  [[nodiscard]] std::span<const double> stars() const { return {stars_.data(), rows_->size()}; }

  /// \throws comet::NotFinite for a model that has diverged
  Figures evaluate(const Model& model, const TaskWeights& weights, Model::Pass& pass,
                   Ranks* ranks = nullptr);

 private:
  const TwoTaskRows* rows_;
  Batches batches_;
  Matrix<double> logits_, stars_;    // 1 x rows
  Matrix<double> watched_, rating_;  // 1 x rows
  std::vector<GateLoad> loads_;      // per task
};

}  // namespace programs::movielens
