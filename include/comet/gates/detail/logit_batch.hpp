// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/gate_forward.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/live_tiles.hpp>
#include <comet/gates/detail/logit_gradients.hpp>
#include <comet/gates/detail/tiles.hpp>
#include <comet/gates/hyperplanes.hpp>

namespace comet::detail {

/// \brief The logits of a batch and the backward pass through them: what gates with a linear logit
/// per expert have in common. A column per sample that is no padding.
template <class S>
class LogitBatch {
 public:
  /// Takes stock of a batch; what was held is gone.
  void begin(std::string_view where, const Samples<S>& samples, Index input_dim) {
    forward_.clear();
    samples.validate(where, input_dim);
    live_.assign(samples);
  }

  /// Fills the logits and calls body(column, tile) for every live sample. A tile's samples are in
  /// the hands of one thread: its number picks scratch.
  template <class Body>
  void evaluate(std::string_view where, const Samples<S>& samples, const Hyperplanes<S>& planes,
                ThreadPool* pool, Body body) {
    const Index n = planes.size();
    auto logits = logits_.shape(n, live_.size());
    const double cost = double(planes.input_dim() * live_.size()) * double(n);
    const auto tile = [&](const S* const* columns, Index first, Index count) {
      for (Index i = 0; i < n; ++i) planes.logits(i, columns, count, &logits(i, first), n);
      for (Index b = first; b < first + count; ++b) {
        if (!all_finite(logits.col(b).array())) [[unlikely]]
          raise_not_finite(where, "the logits of sample " + std::to_string(live_[b]),
                           "overflow or a parameter is not finite");
        body(b, first / samples_per_tile);
      }
    };
    for_live_tiles(worth_threads(pool, cost), samples, live_, tile);
  }

  /// What was held is gone.
  void clear() { forward_.clear(); }
  /// Remembers that backward() of this gate may follow.
  void end_forward(const Identity& gate, const Samples<S>& samples, const Routing<S>& routing) {
    forward_.set(gate, samples, routing);
  }

  /// Adds the gradients.
  /// \param by_logits  by_logits(column, sample, add) calls add(expert, derivative by its logit)
  ///                   for one sample
  template <class ByLogits>
  void backward(const Samples<S>& samples, const Hyperplanes<S>& planes, GradientView<S> gradients,
                MatrixView<S> dx, ThreadPool* pool, ByLogits by_logits) {
    gradients_.start(1);
    for (Index column = 0; column < live_.size(); ++column) {
      const Index b = live_[column];
      by_logits(column, b, [&](Index expert, S value) { gradients_.add(0, expert, b, value); });
    }
    gradients_.apply(planes, gradients, samples.features, dx, pool);
  }

  /// The samples that are no padding.
  [[nodiscard]] const LiveSamples& live() const noexcept { return live_; }
  /// The forward() that backward() may follow.
  [[nodiscard]] const GateForward& forward() const noexcept { return forward_; }
  /// Of a live sample.
  [[nodiscard]] const S* logits(Index column) const { return logits_.matrix().col(column).data(); }

 private:
  LiveSamples live_;
  Buffer<S> logits_;  // n x B
  LogitGradients<S> gradients_;
  GateForward forward_;
};

/// \brief What end_of_step() asks of a pass and a load.
inline void check_end_of_step(std::string_view where, std::span<const Index> load,
                              Index num_experts) {
  check_equal(where, "load.size()", Index(load.size()), "num_experts", num_experts);
  for (std::size_t i = 0; i < load.size(); ++i)
    if (load[i] < 0) [[unlikely]]
      raise(where, "load[" + std::to_string(i) + "]", load[i], "at least 0");
}

/// \brief The same where the gate looks at the batch of the step.
template <class S>
void check_end_of_step(std::string_view where, std::span<const Index> load, Index num_experts,
                       const LogitBatch<S>& batch) {
  check_end_of_step(where, load, num_experts);
  if (batch.forward().num_samples() < 0) [[unlikely]]
    raise(where, "the pass holds no forward(); call it first");
}

}  // namespace comet::detail
