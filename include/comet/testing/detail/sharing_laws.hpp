// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/samples.hpp>
#include <comet/distributed/collectives.hpp>
#include <comet/distributed/thread_communicator.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/testing/detail/law_bench.hpp>

namespace comet::detail {

/// The laws of training on a batch of which ranks have pieces.
template <class G>
class SharingLaws : LawBench<G> {
  using Bench = LawBench<G>;
  using Bench::batch_;
  using Bench::gate_;
  using Bench::law;
  using Bench::options_;
  using Bench::tolerance;

 public:
  using S = typename G::Scalar;
  using Bench::Bench;

  void check() {
    if (!options_.shared_batch || !options_.any_size || comet::depends_on_batch(gate_)) return;
    law("a row is that of its sample's number in the whole batch", [&] { return numbered(); });
    law("ranks that share a batch have its gradients and its penalty", [&] {
      const std::string both = shared(batch_.size() / 2);
      return both.empty() ? shared(0) : both;
    });
  }

 private:
  /// What a piece of the batch leaves in a pass.
  struct Result {
    Routing<S> routing;
    std::vector<S> gradients;
    double penalty = 0;
  };

  [[nodiscard]] RandomKey key() const { return RandomKey(options_.seed).fold(3); }

  /// A step on a piece of the batch, which knows where it begins. The loss is sum(upstream .
  /// weights) + regularization, with made-up derivatives by the weights.
  [[nodiscard]] Result step(Index first, Index count, RankSum rank_sum = {}) const {
    Samples<S> samples = batch_.part(first, count);
    samples.first = first;
    Pass<G> pass(gate_);
    pass.rank_sum = rank_sum;
    Result result;
    gate_.forward(samples, result.routing, key(), pass);
    std::vector<S> dweights;
    for (Index b = 0; b < count; ++b)
      for (const ExpertId expert : result.routing.experts(b))
        dweights.push_back(S(key().fold(first + b).uniform(std::uint64_t(expert), -1, 1)));
    gate_.backward(samples, result.routing, dweights, no_gradient, pass);
    result.penalty = double(gate_.regularization(pass));
    const GradientView<S> view = pass.gradients(gate_);
    for (Index i = 0; i < view.size(); ++i)
      result.gradients.insert(result.gradients.end(), view[i].data(),
                              view[i].data() + view[i].size());
    return result;
  }

  std::string numbered() const {
    const Index size = batch_.size(), first = size / 2;
    const Result whole = step(0, size), part = step(first, size - first);
    for (Index b = first; b < size; ++b)
      if (!Bench::same_row(whole.routing, b, part.routing, b - first))
        return "that" + Bench::at(b) + " differs in a piece that begins at " +
               std::to_string(first) + ": noise is drawn by samples.first + b";
    return {};
  }

  /// Two ranks, of which the first has so many samples.
  std::string shared(Index size) const {
    const Result whole = step(0, batch_.size());
    Result parts[2];
    run_ranks(2, [&](ThreadCommunicator& world) {
      Result& part = parts[world.rank()];
      part = world.rank() == 0 ? step(0, size, make_rank_sum(world))
                               : step(size, batch_.size() - size, make_rank_sum(world));
      sum_over_ranks(world, std::span(part.gradients));
    });
    if (!(std::abs(parts[0].penalty - whole.penalty) <=
          tolerance * (1 + std::abs(whole.penalty))) ||
        parts[0].penalty != parts[1].penalty)
      return "regularization() is not that of the whole batch: its sums go through pass.rank_sum";
    double largest = 0, error = 0;
    for (std::size_t i = 0; i < whole.gradients.size(); ++i) {
      largest = std::max(largest, std::abs(double(whole.gradients[i])));
      error = std::max(error, std::abs(double(parts[0].gradients[i] - whole.gradients[i])));
    }
    return error <= tolerance * (1 + largest) ? "" : "gradients do not sum to those of the batch";
  }
};

}  // namespace comet::detail
