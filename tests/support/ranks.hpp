// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/index_range.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/distributed/distributed_moe_layer.hpp>
#include <comet/distributed/reduce_gradients.hpp>
#include <comet/distributed/thread_communicator.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/all.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/moe_layer.hpp>

#include <support/model.hpp>

/// \file
/// \brief One training in one process and on ranks, side by side.

namespace comet::test {

/// A layer, a batch and what the loss has for derivatives; and how ranks cut it.
template <class S>
struct RankTask {
  std::string gate = "comet";
  GateOptions gate_options = {};
  Index num_tasks = 1;
  Index num_experts = 5;
  double dropout = 0;
  bool masked = false;
  std::vector<Index> rows = {37};       // per rank
  std::vector<IndexRange> shares = {};  // per rank; none for even ones
  std::vector<std::int32_t> ids = {};   // of all rows; none for some of all sizes

  static constexpr Index d = 6, m = 4;
  using Gate = AnyGate<S>;
  using Permuted = PermutedGate<Gate>;
  using Expert = MlpExpert<S>;
  using Whole = MoeLayer<Gate, Expert>;
  using Spread = DistributedMoeLayer<ThreadCommunicator, Gate, Expert>;

  [[nodiscard]] RandomKey key() const { return RandomKey(7); }
  [[nodiscard]] Index num_ranks() const { return Index(rows.size()); }
  [[nodiscard]] Index num_rows() const {
    return std::accumulate(rows.begin(), rows.end(), Index(0));
  }
  [[nodiscard]] IndexRange share(Index rank) const {
    return shares.empty() ? share_of(num_experts, rank, num_ranks()) : shares[std::size_t(rank)];
  }
  /// The rows of a rank. Ranks take turns in who has how many.
  [[nodiscard]] IndexRange rows_of(Index rank, Index step = 0) const {
    Index first = 0;
    for (Index r = 0; r < rank; ++r) first += rows[std::size_t((r + step) % num_ranks())];
    return {first, first + rows[std::size_t((rank + step) % num_ranks())]};
  }

  [[nodiscard]] std::vector<Gate> gates() const {
    GateOptions options = gate_options;
    options.input_dim = d;
    options.num_experts = num_experts;
    std::vector<Gate> all;
    for (Index t = 0; t < num_tasks; ++t)
      all.push_back(make_gate<S>(gate, options, key().fold(0).fold(t)));
    return all;
  }
  /// The same, to be searched over.
  [[nodiscard]] std::vector<Permuted> permuted_gates() const {
    std::vector<Permuted> all;
    for (Gate& each : gates()) all.emplace_back(std::move(each));
    return all;
  }
  [[nodiscard]] std::vector<Expert> experts(IndexRange numbers) const {
    return make_experts<Expert>(
        numbers, {.input_dim = d, .hidden_dim = 9, .output_dim = m, .dropout = dropout},
        key().fold(1));
  }
  [[nodiscard]] Whole whole() const { return {gates(), experts({0, num_experts})}; }

  /// A batch of all rows, or of some of them.
  struct Batch {
    Matrix<S> x, dy;
    std::vector<std::int32_t> ids;
    std::vector<std::uint8_t> mask;

    [[nodiscard]] Samples<S> samples() const { return {x, ids, mask}; }
    [[nodiscard]] Batch part(IndexRange share, Index tasks) const {
      const auto first = std::size_t(share.first), last = std::size_t(share.last);
      Batch result{x.middleCols(share.first, share.size()),
                   Matrix<S>(m, tasks * share.size()),
                   {ids.begin() + std::ptrdiff_t(first), ids.begin() + std::ptrdiff_t(last)},
                   {}};
      if (!mask.empty())
        result.mask = {mask.begin() + std::ptrdiff_t(first), mask.begin() + std::ptrdiff_t(last)};
      for (Index t = 0; t < tasks; ++t)
        result.dy.middleCols(t * share.size(), share.size()) =
            dy.middleCols(t * x.cols() + share.first, share.size());
      return result;
    }
  };
  [[nodiscard]] Batch batch(Index step = 0) const {
    const Index size = num_rows();
    Batch result{random_matrix<S>(d, size, std::uint64_t(100 + step)),
                 random_matrix<S>(m, num_tasks * size, std::uint64_t(200 + step)),
                 {},
                 {}};
    result.dy /= S(size);  // that of a mean over the rows of all ranks
    for (Index b = 0; b < size; ++b) {
      result.ids.push_back(ids.empty() ? std::int32_t(13 * b % 29) : ids[std::size_t(b)]);
      if (masked) result.mask.push_back(std::uint8_t(b % 5 != 2));
    }
    return result;
  }
};

/// What one step leaves, of all rows or of those of a rank.
template <class S>
struct StepResult {
  Matrix<S> y, predicted, dx;
  std::vector<Routing<S>> routings;
  std::vector<Matrix<S>> experts, gates;  // gradients
  S regularization = 0;
};

/// One forward and backward pass of a layer.
template <class S, class Layer>
void run_step(const Layer& layer, const typename RankTask<S>::Batch& batch, RandomKey key,
              Pass<Layer>& pass, StepResult<S>& result) {
  const Samples<S> samples = batch.samples();
  result.y.resize(layer.output_dim(), batch.dy.cols());
  result.predicted = result.y;
  result.dx = Matrix<S>::Zero(layer.input_dim(), samples.size());
  layer.predict(samples, result.predicted, pass);
  layer.forward(samples, result.y, key, pass);
  result.routings.assign(pass.workspace.routings().begin(), pass.workspace.routings().end());
  layer.backward(samples, batch.dy, result.dx, pass);
  result.regularization = layer.regularization(pass);
}
/// The gradients in a pass; the first tensors are those of experts.
template <class S, class Layer>
void take_gradients(const Layer& layer, Index num_own, Pass<Layer>& pass, StepResult<S>& result) {
  const auto gradients = pass.gradients(layer);
  for (Index i = 0; i < gradients.size(); ++i)
    (i < num_own ? result.experts : result.gates).emplace_back(gradients[i]);
}

/// The step in one process.
template <class S>
StepResult<S> whole_step(const RankTask<S>& task) {
  const auto layer = task.whole();
  Pass pass(layer);
  StepResult<S> result;
  run_step(layer, task.batch(), task.key().fold(2), pass, result);
  take_gradients(layer, count_tensors(layer.experts()), pass, result);
  return result;
}
/// The step on ranks: what each of them has, gradients of gates summed over ranks.
template <class S>
std::vector<StepResult<S>> spread_step(const RankTask<S>& task) {
  std::vector<StepResult<S>> results(static_cast<std::size_t>(task.num_ranks()));
  run_ranks(task.num_ranks(), [&](ThreadCommunicator& world) {
    const typename RankTask<S>::Spread layer(world, task.gates(),
                                             task.experts(task.share(world.rank())));
    Pass pass(layer);
    auto& result = results[std::size_t(world.rank())];
    const auto batch = task.batch().part(task.rows_of(world.rank()), task.num_tasks);
    run_step(layer, batch, task.key().fold(2), pass, result);
    reduce_gradients(world, layer, pass.gradients(layer));
    take_gradients(layer, layer.num_own_tensors(), pass, result);
  });
  return results;
}

}  // namespace comet::test
