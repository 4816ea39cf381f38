// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

#include <comet/losses/binary_cross_entropy.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/metrics/roc_auc.hpp>

#include <movielens/base/figures.hpp>
#include <movielens/base/gate_load.hpp>
#include <movielens/data/batches.hpp>
#include <movielens/data/two_task.hpp>
#include <movielens/model/model.hpp>

namespace movielens {

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
    const double bce = comet::binary_cross_entropy<double>(logits_, watched_, unused_gradient_);
    const double mse =
        comet::mean_squared_error<double>(stars_, rating_, watched_, unused_gradient_);
    figures.loss = weights.watched * bce + weights.rating * mse;
    const double auc = comet::roc_auc(logits(), std::span<const float>(rows_->watched));
    figures.measures = {{.name = "bce", .value = bce},
                        {.name = "auc", .value = auc, .is_headline = true},
                        {.name = "mse", .value = mse, .is_headline = true}};
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
