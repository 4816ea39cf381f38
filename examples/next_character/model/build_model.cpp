// SPDX-License-Identifier: MIT
#include <next_character/model/build_model.hpp>

#include <cstddef>
#include <utility>

#include <comet/gates/hash.hpp>
#include <comet/gates/make_gate.hpp>

#include <programs/base/places.hpp>
#include <programs/training/gates_of_rows.hpp>

namespace programs::next_character {
namespace {

using Hash = comet::HashGate<float>;

comet::AnyGate<float> make_gate(const TrainOptions& o, const ModelOptions& sizes,
                                std::span<const std::int64_t> frequency, RandomKey key) {
  if (is_dense(o.gate) || o.gate == Hash::name)
    return comet::AnyGate<float>(Hash::balanced(frequency, sizes.num_experts));
  comet::GateOptions options = settings_of_gate(o, sizes.hidden_dim, sizes.num_experts);
  // A single selected logit has the softmax 1, and no gradient.
  if (o.gate == comet::TopKGate<float>::name) options.softmax = comet::TopKSoftmax::all;
  return comet::make_gate<float>(o.gate, options, key);
}

}  // namespace

Model build_model(const TrainOptions& o, std::span<const std::int64_t> frequency) {
  const RandomKey key(static_cast<std::uint64_t>(o.seed));
  ModelOptions sizes = model_of(o);
  sizes.symbols = Index(frequency.size());
  return Model(sizes, Model::Gate(make_gate(o, sizes, frequency, key.fold(places::gates))),
               key.fold(places::model));
}

std::vector<std::int64_t> symbol_frequency(const Text& text) {
  std::vector<std::int64_t> frequency(std::size_t(text.alphabet.size()), 0);
  for (const Symbol symbol : text.train()) ++frequency[symbol];
  return frequency;
}

}  // namespace programs::next_character
