// SPDX-License-Identifier: MIT
#include <next_character/model/evaluation.hpp>

#include <algorithm>
#include <cstdint>
#include <numbers>

#include <comet/distributed/collectives.hpp>
#include <comet/losses/softmax_cross_entropy.hpp>

#include <next_character/model/cost.hpp>
#include <programs/base/gate_load.hpp>

namespace programs::next_character {
namespace {

std::size_t num_right(const ConstMatrixView<float>& logits, std::span<const std::int32_t> next) {
  std::size_t right = 0;
  for (Index b = 0; b < logits.cols(); ++b) {
    Index guess = 0;
    logits.col(b).maxCoeff(&guess);
    right += guess == next[std::size_t(b)];
  }
  return right;
}

}  // namespace

double bits_of(double nats) { return nats / std::numbers::ln2; }

Evaluator::Evaluator(std::span<const Symbol> text, Index window, std::size_t batch_size,
                     std::size_t most)
    : windows_(text, window), batch_size_(batch_size), places_(std::min(windows_.size(), most)) {}

Figures Evaluator::evaluate(const Model& model, Model::Pass& pass, Ranks* ranks) {
  GateLoad load(model.mixture().num_experts());
  MixtureCost cost;
  double loss = 0;
  std::size_t right = 0;
  for (std::size_t first = 0; first < places_; first += batch_size_) {
    if (!is_turn_of(ranks, first / batch_size_)) continue;
    const std::size_t count = std::min(batch_size_, places_ - first);
    const Batch batch = windows_.gather(count, [&](std::size_t i) {
      return std::size_t(double(first + i) / double(places_) * double(windows_.size()));
    });
    const auto logits = model.predict(batch.before, batch.last, pass);
    loss += double(count) * comet::softmax_cross_entropy(logits, batch.next, comet::no_gradient);
    right += num_right(logits, batch.next);
    load.add(pass.workspace.mixture().routing());
    cost.add(model, pass);
  }
  if (ranks != nullptr) {
    const comet::RankSum sum = comet::make_rank_sum(*ranks);
    loss = sum(loss);
    right = std::size_t(sum.count(Index(right)));
    load.sum(sum);
    cost.sum(sum);
  }
  Figures figures;
  figures.loss = loss / double(places_);
  figures.measures = {
      {.name = "bits", .value = bits_of(figures.loss), .is_headline = true},
      {.name = "accuracy", .value = double(right) / double(places_)},
      {.name = "multiply_adds", .value = cost.per_sample()},
      {.name = "multiply_adds_of_all", .value = cost.per_sample() + model.cost_beside_mixture()}};
  describe_gates({&load, 1}, figures);
  return figures;
}

}  // namespace programs::next_character
