// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <comet/local_search/permuted_gate.hpp>

#include <movielens/base/places.hpp>
#include <movielens/model/model.hpp>
#include <movielens/model/train_options.hpp>

namespace movielens {

/// \brief A model as it is before training. Every gate is wrapped in a PermutedGate: without a
/// search it keeps the identity, which costs a look-up per entry.
/// \param make_gate  callable with a key
template <class MakeGate>
auto build_model(const TrainOptions& o, Index num_users, Index num_items, MakeGate make_gate) {
  const RandomKey key(static_cast<std::uint64_t>(o.seed));
  using Gate = comet::PermutedGate<decltype(make_gate(key))>;
  using Model = TwoTaskModel<Gate>;
  ModelOptions options = o.model;
  options.num_users = num_users;
  options.num_items = num_items;
  std::vector<Gate> gates;
  for (std::size_t task = 0; task < Model::num_tasks; ++task)
    gates.emplace_back(make_gate(key.fold(places::gates).fold(task)));
  return Model(options, std::move(gates), key.fold(places::model));
}

}  // namespace movielens
