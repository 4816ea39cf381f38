// SPDX-License-Identifier: MIT
#include <bert/model/evaluation.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

#include <comet/core/samples.hpp>
#include <comet/inference/routing_cost.hpp>

#include <bert/model/network.hpp>
#include <programs/base/gate_load.hpp>

namespace programs::bert {
namespace {

/// The class, or the number, that a column of logits says.
double said_by(const comet::Matrix<float>& logits, Index column) {
  if (logits.rows() == 1) return double(logits(0, column));
  Index best = 0;
  logits.col(column).maxCoeff(&best);
  return double(best);
}

/// \param attention  what the gate sees, token by token
double gate_cost(const Mixture<float>& mixture, const comet::Matrix<float>& attention,
                 const LabelledBatch& batch) {
  const TokenMatrix& mask_matrix = batch.sentences.mask;
  const std::vector<std::uint8_t> mask(mask_matrix.data(), mask_matrix.data() + mask_matrix.size());
  if (const auto* of_sentences = mixture.of_sentences()) {
    const std::vector<std::int32_t> sentences = batch.sentence_of_tokens();
    return of_sentences->with_sentences(
        comet::Samples<float>(attention, sentences, mask),
        [&](const auto& means) { return comet::routing_cost(of_sentences->gate(), means); });
  }
  return comet::routing_cost(mixture.layer().gates().front().gate(),
                             comet::Samples<float>(attention, {}, mask));
}

/// Of the last pass of all layers.
double cost_of(const Bert<float>& model, const Judged<float>& judged, const LabelledBatch& batch) {
  const BertConfig& config = model.config();
  const double tokens = double(batch.tokens());
  double sum = 0;
  for (std::size_t l = 0; l < model.layers.size(); ++l) {
    const BertLayer<float>& layer = model.layers[l];
    sum += tokens * dense_cost(config, layer.block ? layer.block->intermediate.weight.cols() : 0);
    if (!layer.mixture) continue;
    const auto& experts = layer.mixture->layer().experts();
    for (const comet::ExpertId expert : layer.mixture->pass().workspace.routing().experts())
      sum += experts[std::size_t(expert)].cost();
    sum += gate_cost(*layer.mixture, judged.attention[l], batch);
  }
  return sum;
}

}  // namespace

std::vector<comet::Routing<float>> routings_of(const Bert<float>& model, const Batch& batch) {
  std::vector<comet::Routing<float>> result;
  for (const BertLayer<float>& layer : model.layers) {
    if (!layer.mixture) continue;
    const auto& all = layer.mixture->pass().workspace.routing();
    auto& real = result.emplace_back();
    for (Index token = 0; token < all.num_samples(); ++token) {
      if (batch.mask.data()[token] == 0) continue;
      const auto experts = all.experts(token);
      const auto weights = all.weights(token);
      for (std::size_t i = 0; i < experts.size(); ++i) real.push(experts[i], weights[i]);
      real.end_sample();
    }
  }
  return result;
}

double dense_cost(const BertConfig& config, Index units) {
  const double hidden = double(config.hidden);
  return 4 * hidden * hidden + 2 * hidden * double(units);
}

Figures evaluate(const Bert<float>& model, const Bert<float>* teacher, const StudyData& data,
                 const Rows& rows, Index batch_size) {
  std::vector<GateLoad> loads;
  for (const auto& gate : model.gates()) loads.emplace_back(gate.num_experts());
  std::vector<double> said(std::size_t(rows.size()));
  Figures figures;
  double hidden = 0, divergence = 0, cost = 0, tokens = 0, seconds = 0;
  for (const auto& which : sorted_batches(rows.sentences, batch_size)) {
    const LabelledBatch batch = rows.gather(which, data.padding);
    const Judged<float> judged = judge<float>(model, teacher, batch);
    const double size = double(batch.size()), real = double(batch.tokens());
    figures.loss += size * judged.terms.task;
    divergence += size * judged.terms.symmetric;
    hidden += real * judged.terms.hidden;
    tokens += real;
    seconds += judged.seconds;
    cost += cost_of(model, judged, batch);
    for (std::size_t i = 0; i < which.size(); ++i)
      said[std::size_t(which[i])] = said_by(judged.logits, Index(i));
    const auto routings = routings_of(model, batch.sentences);
    for (std::size_t l = 0; l < routings.size(); ++l) loads[l].add(routings[l]);
  }
  figures.loss /= double(rows.size());
  bool is_score = true;
  for (const auto& [name, value] : scores(*data.task, said, rows.examples)) {
    figures.measures.push_back({.name = name, .value = value, .is_headline = is_score});
    is_score = false;
  }
  figures.measures.push_back({.name = "score", .value = figures.measures.front().value});
  figures.measures.push_back({.name = "loss", .value = figures.loss});
  figures.measures.push_back({.name = "hidden_error", .value = hidden / tokens});
  figures.measures.push_back({.name = "divergence", .value = divergence / double(rows.size())});
  figures.measures.push_back({.name = "multiply_adds", .value = cost / tokens});
  figures.measures.push_back({.name = "tokens_per_second", .value = tokens / seconds});
  describe_gates(loads, figures);
  double effective = 0;
  for (const double layer : figures.effective_experts) effective += layer;
  figures.measures.push_back({.name = "mean_effective_experts",
                              .value = loads.empty() ? 0 : effective / double(loads.size())});
  return figures;
}

}  // namespace programs::bert
