// SPDX-License-Identifier: MIT
#include <movielens/model/evaluation.hpp>

#include <comet/distributed/collectives.hpp>
#include <comet/losses/binary_cross_entropy.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/metrics/roc_auc.hpp>

namespace programs::movielens {
namespace {

Matrix<double> row_of(const std::vector<float>& values) {
  return Eigen::Map<const Matrix<float>>(values.data(), 1, Index(values.size())).cast<double>();
}

}  // namespace

Evaluator::Evaluator(const TwoTaskRows& rows, std::size_t batch_size)
    : rows_(&rows),
      batches_(rows, batch_size),
      logits_(1, Index(rows.size())),
      stars_(1, Index(rows.size())),
      watched_(row_of(rows.watched)),
      rating_(row_of(rows.rating)) {}

void Evaluator::predict(const Model& model, Model::Pass& pass, Ranks* ranks) {
  loads_.assign(Model::num_tasks, GateLoad(model.mixture().num_experts()));
  if (ranks != nullptr) {
    logits_.setZero();
    stars_.setZero();
  }
  Index first = 0;
  for (std::size_t b = 0; b < batches_.size(); ++b) {
    const Batch batch = batches_[b];
    const Index samples = Index(batch.size());
    if (!is_turn_of(ranks, b)) {
      first += samples;
      continue;
    }
    const auto outputs = model.predict(batch.user, batch.item, pass);
    logits_.middleCols(first, samples) = outputs.leftCols(samples).cast<double>();
    stars_.middleCols(first, samples) = outputs.rightCols(samples).cast<double>();
    for (std::size_t task = 0; task < loads_.size(); ++task)
      loads_[task].add(pass.workspace.routing(Index(task)));
    first += samples;
  }
  if (ranks == nullptr) return;
  for (Matrix<double>* each : {&logits_, &stars_})  // one rank has a number, all others 0
    comet::sum_over_ranks(*ranks, std::span(each->data(), std::size_t(each->size())));
  for (GateLoad& load : loads_) load.sum(comet::make_rank_sum(*ranks));
}

Figures Evaluator::evaluate(const Model& model, const TaskWeights& weights, Model::Pass& pass,
                            Ranks* ranks) {
  predict(model, pass, ranks);
  Figures figures;
  const double bce = comet::binary_cross_entropy(logits_, watched_, comet::no_gradient);
  const double mse = comet::mean_squared_error(stars_, rating_, watched_, comet::no_gradient);
  figures.loss = weights.watched * bce + weights.rating * mse;
  const double auc = comet::roc_auc(logits(), std::span<const float>(rows_->watched));
  figures.measures = {{.name = "bce", .value = bce},
                      {.name = "auc", .value = auc, .is_headline = true},
                      {.name = "mse", .value = mse, .is_headline = true}};
  describe_gates(loads_, figures);
  return figures;
}

}  // namespace programs::movielens
