// SPDX-License-Identifier: MIT
#include <next_character/model/build_model.hpp>

#include <cstddef>
#include <utility>

#include <comet/gates/any.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/top_k.hpp>

#include <programs/base/places.hpp>
#include <programs/training/gates_of_rows.hpp>

namespace programs::next_character {
namespace {

comet::AnyGate<float> gate_of_model(const TrainOptions& o, const ModelOptions& sizes,
                                    std::span<const std::int64_t> frequency, RandomKey key) {
  if (is_dense(o.gate))
    return comet::AnyGate<float>(comet::HashGate<float>::balanced(frequency, sizes.num_experts));
  comet::GateOptions options = settings_of_gate(o, sizes.hidden_dim, sizes.num_experts);
  // A single selected logit has the softmax 1, and no gradient.
  if (o.gate == comet::TopKGate<float>::name) options.softmax = comet::TopKSoftmax::all;
  return make_gate(o, options, frequency, key);
}

}  // namespace

Model build_model(const TrainOptions& o, std::span<const std::int64_t> frequency) {
  const RandomKey key(static_cast<std::uint64_t>(o.seed));
  ModelOptions sizes = model_of(o);
  sizes.symbols = Index(frequency.size());
  return Model(sizes, Model::Gate(gate_of_model(o, sizes, frequency, key.fold(places::gates))),
               key.fold(places::model));
}

std::vector<std::int64_t> symbol_frequency(const Text& text) {
  std::vector<std::int64_t> frequency(std::size_t(text.alphabet.size()), 0);
  for (const Symbol symbol : text.train()) ++frequency[symbol];
  return frequency;
}

}  // namespace programs::next_character
