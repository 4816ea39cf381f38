// SPDX-License-Identifier: MIT
#include <two_pictures/model/build_model.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <comet/gates/hash.hpp>
#include <comet/gates/make_gate.hpp>

#include <programs/base/places.hpp>
#include <programs/training/gates_of_rows.hpp>

namespace programs::two_pictures {
namespace {

comet::AnyGate<float> make_gate(const TrainOptions& o, const ModelOptions& sizes,
                                Index num_pictures, Index task, RandomKey key) {
  using Hash = comet::HashGate<float>;
  if (o.gate == Hash::name) {
    const std::vector<std::int64_t> frequency(std::size_t(num_pictures), 1);
    return comet::AnyGate<float>(Hash::balanced(frequency, sizes.num_experts));
  }
  if (is_dense(o.gate))
    return make_dense_gate(o, sizes.height * sizes.width, task, sizes.num_tasks, key);
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
