// SPDX-License-Identifier: MIT
#include <two_pictures/model/build_model.hpp>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include <comet/gates/hash.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/gates/masked.hpp>
#include <comet/gates/softmax.hpp>

#include <programs/base/places.hpp>
#include <programs/training/settings_of_gate.hpp>

namespace programs::two_pictures {
namespace {

/// All of a dense network's experts, or the k that belong to a task.
comet::AnyGate<float> make_dense_gate(const TrainOptions& o, const ModelOptions& sizes, Index task,
                                      RandomKey key) {
  comet::SoftmaxGate<float> all(
      {.input_dim = sizes.height * sizes.width, .num_experts = sizes.num_experts}, key);
  if (o.gate == dense) return comet::AnyGate<float>(std::move(all));
  std::vector<comet::ExpertId> own(std::size_t(o.k));
  std::iota(own.begin(), own.end(), comet::ExpertId(task * o.k));
  return comet::AnyGate<float>(comet::MaskedExperts(std::move(all), own));
}

comet::AnyGate<float> make_gate(const TrainOptions& o, const ModelOptions& sizes,
                                Index num_pictures, Index task, RandomKey key) {
  using Hash = comet::HashGate<float>;
  if (o.gate == Hash::name) {
    const std::vector<std::int64_t> frequency(std::size_t(num_pictures), 1);
    return comet::AnyGate<float>(Hash::balanced(frequency, sizes.num_experts));
  }
  if (is_dense(o.gate)) return make_dense_gate(o, sizes, task, key);
  return comet::make_gate<float>(
      o.gate, settings_of_gate(o, sizes.height * sizes.width, sizes.num_experts), key);
}

}  // namespace

Model build_model(const TrainOptions& o, const ModelOptions& sizes, Index num_pictures) {
  const RandomKey key(static_cast<std::uint64_t>(o.seed));
  std::vector<Model::Gate> gates;
  for (Index task = 0; task < sizes.num_tasks; ++task)
    gates.emplace_back(
        make_gate(o, sizes, num_pictures, task, key.fold(places::gates).fold(std::uint64_t(task))));
  return Model(sizes, std::move(gates), key.fold(places::model));
}

}  // namespace programs::two_pictures
