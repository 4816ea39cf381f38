// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

#include <comet/losses/binary_cross_entropy.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/metrics/roc_auc.hpp>

#include <movielens/data/batches.hpp>
#include <movielens/data/two_task.hpp>
#include <movielens/model/model.hpp>
#include <movielens/training/gate_load.hpp>

namespace movielens {

/// \brief How good a model is on a split.
struct Figures {
  Loss loss;       ///< loss.rating is the MSE of the known ratings; there is no penalty
  double auc = 0;  ///< of "watched"
  double experts_per_sample = 0;  ///< mean over the gates
  std::vector<double> experts_per_sample_by_task;
  std::vector<std::vector<double>> load;  ///< per task and expert, share of the samples
};

/// \brief Predicts a whole split and scores it, in double precision: a split has many rows.
template <class Gate>
class Evaluator {
 public:
  Evaluator(const TwoTaskRows& rows, std::size_t batch_size)
      : rows_(&rows),
        batches_(rows, batch_size),
        logits_(1, Index(rows.size())),
        stars_(1, Index(rows.size())),
        watched_(row_of(rows.watched)),
        rating_(row_of(rows.rating)),
        unused_gradient_(1, Index(rows.size())) {}

  /// Fills logits() and stars(). \return per task, how the gate spread the rows
  std::vector<GateLoad> predict(const TwoTaskModel<Gate>& model,
                                typename TwoTaskModel<Gate>::Workspace& workspace) {
    std::vector<GateLoad> loads(TwoTaskModel<Gate>::num_tasks,
                                GateLoad(model.mixture().num_experts()));
    Index first = 0;
    for (std::size_t b = 0; b < batches_.size(); ++b) {
      const Batch batch = batches_[b];
      const Index samples = Index(batch.size());
      const auto outputs = model.predict(batch.user, batch.item, workspace);
      logits_.middleCols(first, samples) = outputs.leftCols(samples).template cast<double>();
      stars_.middleCols(first, samples) = outputs.rightCols(samples).template cast<double>();
      for (std::size_t task = 0; task < loads.size(); ++task)
        loads[task].add(workspace.mixture().routing(Index(task)));
      first += samples;
    }
    return loads;
  }

  /// Of "watched", one per row.
  [[nodiscard]] std::span<const double> logits() const { return {logits_.data(), rows_->size()}; }
  [[nodiscard]] std::span<const double> stars() const { return {stars_.data(), rows_->size()}; }

  Figures evaluate(const TwoTaskModel<Gate>& model, const TaskWeights& weights,
                   typename TwoTaskModel<Gate>::Workspace& workspace) {
    const std::vector<GateLoad> loads = predict(model, workspace);
    Figures figures;
    figures.loss.watched = comet::binary_cross_entropy<double>(logits_, watched_, unused_gradient_);
    figures.loss.rating =
        comet::mean_squared_error<double>(stars_, rating_, watched_, unused_gradient_);
    figures.loss.total =
        weights.watched * figures.loss.watched + weights.rating * figures.loss.rating;
    figures.auc = comet::roc_auc(logits(), std::span<const float>(rows_->watched));
    for (const GateLoad& load : loads) {
      figures.experts_per_sample_by_task.push_back(load.experts_per_sample());
      figures.load.push_back(load.share_per_expert());
    }
    figures.experts_per_sample = std::accumulate(figures.experts_per_sample_by_task.begin(),
                                                 figures.experts_per_sample_by_task.end(), 0.0) /
                                 double(loads.size());
    return figures;
  }

 private:
  static Matrix<double> row_of(const std::vector<float>& values) {
    return Eigen::Map<const Matrix<float>>(values.data(), 1, Index(values.size())).cast<double>();
  }

  const TwoTaskRows* rows_;
  Batches batches_;
  Matrix<double> logits_, stars_;    // 1 x rows
  Matrix<double> watched_, rating_;  // 1 x rows
  Matrix<double> unused_gradient_;   // 1 x rows
};

}  // namespace movielens
