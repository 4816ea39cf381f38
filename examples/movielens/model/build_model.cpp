// SPDX-License-Identifier: MIT
#include <movielens/model/build_model.hpp>

#include <cstddef>
#include <utility>
#include <vector>

#include <comet/gates/any.hpp>

#include <programs/base/places.hpp>
#include <programs/training/gates_of_rows.hpp>

namespace programs::movielens {
namespace {

comet::AnyGate<float> gate_of_task(const TrainOptions& o,
                                   std::span<const std::int64_t> item_frequency, Index task,
                                   RandomKey key) {
  const Index input_dim = 2 * o.model.embedding_dim;
  if (is_dense(o.gate)) return make_dense_gate(o, input_dim, task, Index(Model::num_tasks), key);
  return make_gate(o, settings_of_gate(o, input_dim, o.model.num_experts), item_frequency, key);
}

}  // namespace

Model build_model(const TrainOptions& o, Index num_users,
                  std::span<const std::int64_t> item_frequency) {
  const RandomKey key(static_cast<std::uint64_t>(o.seed));
  ModelOptions options = o.model;
  options.num_users = num_users;
  options.num_items = Index(item_frequency.size());
  options.num_experts = num_experts_of(o);
  std::vector<Model::Gate> gates;
  for (std::size_t task = 0; task < Model::num_tasks; ++task)
    gates.emplace_back(
        gate_of_task(o, item_frequency, Index(task), key.fold(places::gates).fold(task)));
  return Model(options, std::move(gates), key.fold(places::model));
}

}  // namespace programs::movielens
