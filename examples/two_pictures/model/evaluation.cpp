// SPDX-License-Identifier: MIT
#include <two_pictures/model/evaluation.hpp>

#include <numeric>
#include <string>
#include <vector>

#include <comet/distributed/collectives.hpp>
#include <comet/inference/routing_cost.hpp>
#include <comet/losses/softmax_cross_entropy.hpp>

namespace programs::two_pictures {

Matrix<double> shares_of_rows(const Matrix<double>& together) {
  Matrix<double> shares = together;
  for (Index row = 0; row < shares.rows(); ++row)
    if (const double sum = shares.row(row).sum(); sum > 0) shares.row(row) /= sum;
  return shares;
}

Evaluator::Evaluator(const Examples& examples, std::size_t batch_size)
    : examples_(&examples), batches_(examples, batch_size) {}

Figures Evaluator::evaluate(const Model& model, Model::Pass& pass, Ranks* ranks) {
  const auto tasks = std::size_t(model.num_tasks());
  answers_.assign(tasks, Answers(model.num_classes()));
  loads_.assign(tasks, GateLoad(model.mixture().num_experts()));
  experts_by_class_.assign(
      tasks, Matrix<double>::Zero(model.num_classes(), model.mixture().num_experts()));
  multiply_adds_ = 0;
  std::vector<double> loss(tasks, 0.0);
  for (std::size_t b = 0; b < batches_.size(); ++b) {
    if (!is_turn_of(ranks, b)) continue;
    const Batch batch = batches_[b];
    const auto samples = Index(batch.size());
    const auto logits = model.predict(batch.pixels, batch.picture, pass);
    for (std::size_t task = 0; task < tasks; ++task) {
      const auto of_task = logits.middleCols(Index(task) * samples, samples);
      const auto truth = batch.labels.subspan(task * batch.size(), batch.size());
      loss[task] +=
          double(samples) * comet::softmax_cross_entropy(of_task, truth, comet::no_gradient);
      answers_[task].add(of_task, truth);
    }
    count(model, pass, batch);
  }
  std::vector<double> right;
  for (const Answers& answers : answers_) right.push_back(double(answers.num_right()));
  if (ranks != nullptr) {
    const comet::RankSum sum = comet::make_rank_sum(*ranks);
    sum(loss);
    sum(right);
    multiply_adds_ = sum(multiply_adds_);
    for (GateLoad& load : loads_) load.sum(sum);
  }
  Figures figures;
  const auto all = double(examples_->size());
  for (std::size_t task = 0; task < tasks; ++task) {
    figures.loss += loss[task] / all / double(tasks);
    const std::string name = tasks == 1 ? "accuracy" : "accuracy_" + std::to_string(task + 1);
    figures.measures.push_back({.name = name, .value = right[task] / all, .is_headline = true});
    figures.measures.push_back(
        {.name = "cross_entropy_" + std::to_string(task + 1), .value = loss[task] / all});
  }
  double accuracy = 0;
  for (const double of_task : right) accuracy += of_task / all / double(tasks);
  if (tasks > 1) figures.measures.push_back({.name = "accuracy", .value = accuracy});
  figures.measures.push_back({.name = "multiply_adds", .value = multiply_adds_ / all});
  describe_gates(loads_, figures);
  return figures;
}

/// Who was sent where, and what that cost: an expert that both tasks ask for runs once.
void Evaluator::count(const Model& model, const Model::Pass& pass, const Batch& batch) {
  const auto& mixture = pass.workspace.mixture();
  for (std::size_t task = 0; task < loads_.size(); ++task) {
    const auto& routing = mixture.routing(Index(task));
    loads_[task].add(routing);
    for (Index b = 0; b < routing.num_samples(); ++b) {
      const Index label = batch.labels[task * batch.size() + std::size_t(b)];
      const auto chosen = routing.experts(b);
      const auto weights = routing.weights(b);
      const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
      for (std::size_t i = 0; i < chosen.size(); ++i)
        experts_by_class_[task](label, chosen[i]) += double(weights[i]) / all;
    }
    multiply_adds_ += comet::routing_cost(model.gates()[task].gate(), batch.pixels);
  }
  const auto& experts = model.mixture().experts();
  for (Index e = 0; e < Index(experts.size()); ++e)
    multiply_adds_ += double(mixture.plan().count(e)) * experts[std::size_t(e)].cost();
}

}  // namespace programs::two_pictures
