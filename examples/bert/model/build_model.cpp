// SPDX-License-Identifier: MIT
#include <bert/model/build_model.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <comet/gates/top_k.hpp>

#include <bert/model/moefy.hpp>
#include <bert/model/network.hpp>
#include <programs/base/interrupt.hpp>
#include <programs/base/places.hpp>
#include <programs/training/gates_of_rows.hpp>

namespace programs::bert {
namespace {

comet::RandomKey key_of(const TrainOptions& o, int place) {
  return comet::RandomKey(static_cast<std::uint64_t>(o.seed)).fold(place);
}

/// What the units matter to some of the training rows: no label of the dev set enters a student.
comet::Matrix<float> importance_of(const TrainOptions& o, const StudyData& data) {
  std::vector<std::int32_t> order(std::size_t(data.train.size()));
  std::iota(order.begin(), order.end(), 0);
  key_of(o, places::data).fold(1).shuffle(std::span(order));
  order.resize(
      std::size_t(std::max(1.0, std::ceil(o.importance_share * double(data.train.size())))));
  Rows rows;
  for (const std::int32_t row : order) {
    rows.examples.push_back(data.train.examples[std::size_t(row)]);
    rows.sentences.push_back(data.train.sentences[std::size_t(row)]);
  }
  comet::Matrix<float> sums =
      comet::Matrix<float>::Zero(data.model->config().intermediate, data.model->config().layers);
  for (const auto& which : sorted_batches(rows.sentences, Index(o.batch_size))) {
    if (is_interrupted()) throw Interrupted("the training had not begun");
    const LabelledBatch batch = rows.gather(which, data.padding);
    sums += importance<float>(*data.model, {&batch, 1});
  }
  return sums;
}

}  // namespace

Mixture<float>::Gate gate_of_layer(const TrainOptions& o, Index layer, Index hidden,
                                   std::span<const std::int64_t> frequency) {
  comet::GateOptions options = settings_of_gate(o, hidden, o.num_experts);
  // A single selected logit has the softmax 1, and no gradient.
  if (o.gate == comet::TopKGate<float>::name) options.softmax = comet::TopKSoftmax::all;
  auto gate = make_gate(o, options, frequency, key_of(o, places::gates).fold(layer));
  if (o.route_by == by_sentence && may_route_sentences(o.gate))
    gate = comet::AnyGate<float>(Mixture<float>::OfSentences(std::move(gate)));
  return Mixture<float>::Gate(std::move(gate));
}

Bert<float> start_model(const TrainOptions& o, const StudyData& data) {
  if (!o.distils || o.gate == dense) return *data.model;
  const BertConfig& config = data.model->config();
  check_units(o, config.intermediate);
  const comet::Matrix<float> importance = importance_of(o, data);
  if (is_dense(o.gate)) return pruned(*data.model, dense_units(o, config.intermediate), importance);
  const std::vector<std::int64_t> frequency = data.piece_frequency();
  return moefied<float>(
      *data.model, {.num_experts = o.num_experts, .shared = o.shared, .own = o.own}, importance,
      [&](Index layer) { return gate_of_layer(o, layer, config.hidden, frequency); },
      Index(o.threads));
}

Bert<float> empty_student(const TrainOptions& o, const BertConfig& config) {
  // Units that no expert has are not in the file: a teacher without them does as well.
  BertConfig cut = config;
  cut.intermediate =
      is_dense(o.gate) ? dense_units(o, config.intermediate) : o.shared + o.num_experts * o.own;
  check_units(o, config.intermediate);
  const Bert<float> teacher(cut);
  if (is_dense(o.gate)) return teacher;
  const comet::Matrix<float> importance = comet::Matrix<float>::Zero(cut.intermediate, cut.layers);
  // Of a gate that is a table: it is in the file, too.
  const std::vector<std::int64_t> frequency(std::size_t(config.vocab), 0);
  return moefied<float>(
      teacher, {.num_experts = o.num_experts, .shared = o.shared, .own = o.own}, importance,
      [&](Index layer) { return gate_of_layer(o, layer, config.hidden, frequency); });
}

}  // namespace programs::bert
