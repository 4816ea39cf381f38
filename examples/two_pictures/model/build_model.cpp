// SPDX-License-Identifier: MIT
#include <two_pictures/model/build_model.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <comet/gates/any.hpp>

#include <programs/base/places.hpp>
#include <programs/training/gates_of_rows.hpp>

namespace programs::two_pictures {
namespace {

comet::AnyGate<float> gate_of_task(const TrainOptions& o, const ModelOptions& sizes,
                                   Index num_pictures, Index task, RandomKey key) {
  const Index input_dim = sizes.height * sizes.width;
  if (is_dense(o.gate)) return make_dense_gate(o, input_dim, task, sizes.num_tasks, key);
  const std::vector<std::int64_t> frequency(std::size_t(num_pictures), 1);
  return make_gate(o, settings_of_gate(o, input_dim, sizes.num_experts), frequency, key);
}

}  // namespace

Model build_model(const TrainOptions& o, const ModelOptions& sizes, Index num_pictures) {
  const RandomKey key(static_cast<std::uint64_t>(o.seed));
  std::vector<Model::Gate> gates;
  for (Index task = 0; task < sizes.num_tasks; ++task)
    gates.emplace_back(gate_of_task(o, sizes, num_pictures, task,
                                    key.fold(places::gates).fold(std::uint64_t(task))));
  return Model(sizes, std::move(gates), key.fold(places::model));
}

}  // namespace programs::two_pictures
