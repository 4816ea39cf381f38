// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// One soft permutation, or one per selector, as n x slots: column = slot. As it hardens, most of its
/// elements come down to where every sum with another one loses them, and on to where derivatives of
/// experts by them are denormal numbers, with which a processor takes many times as long: from the
/// square of the rounding error on they are 0.
template <class S>
void stack_slots(std::span<const Matrix<double>> soft, Index n, Matrix<S>& slots) {
  constexpr double rounding = std::numeric_limits<S>::epsilon();
  const auto selectors = Index(soft.size());
  slots.resize(n, n * selectors);
  for (Index slot = 0; slot < n * selectors; ++slot) {
    const Matrix<double>& p = soft[std::size_t(slot % selectors)];
    const auto row = p.row(slot / selectors).transpose().array();
    slots.col(slot) = (row.abs() < rounding * rounding).select(0.0, row).template cast<S>();
  }
}

/// Rows of weights mixed by a soft permutation, and the backward pass.
///
/// Few Sinkhorn iterations leave a soft P whose rows do not sum to 1. A sample's weights are
/// therefore scaled to the sum that the gate gave them: P moves weight but makes none.
template <class S>
class SoftMixing {
 public:
  /// u = P^T g, then g' = u sum(g) / sum(u); every live sample gets all n experts.
  /// \param soft  n x slots: column = slot
  void forward(const Matrix<S>& soft, const Samples<S>& samples, const Routing<S>& slots,
               Routing<S>& routing) {
    const Index n = soft.rows();
    check_experts("PermutedGate: the gate inside", slots, soft.cols());
    live_.assign(samples);
    sizes_.assign(std::size_t(samples.size()), 0);
    auto dense = dense_.shape(soft.cols(), live_.size());
    dense.setZero();
    for (Index i = 0; i < live_.size(); ++i) {
      const Index b = live_[i];
      sizes_[std::size_t(b)] = std::int32_t(n);
      const auto weights = slots.weights(b);
      for (std::size_t e = 0; e < weights.size(); ++e) dense(slots.experts(b)[e], i) = weights[e];
    }
    routing.resize(sizes_);
    for (std::size_t i = 0; i < routing.experts().size(); ++i)
      routing.experts()[i] = ExpertId(Index(i) % n);
    Eigen::Map<Matrix<S>> weights(routing.weights().data(), n, live_.size());
    weights.noalias() = soft * dense;
    scales_.resize(std::size_t(live_.size()));
    for (Index i = 0; i < live_.size(); ++i) {
      const S moved = weights.col(i).sum();
      const S scale = moved > S(0) ? dense.col(i).sum() / moved : S(1);
      scales_[std::size_t(i)] = scale;
      weights.col(i) *= scale;
    }
  }

  /// With v the derivative by g': that by u is sum(g) / sum(u) (v - mean), where mean = v . g' /
  /// sum(g), and that by g is P times it, plus mean.
  /// \param dslots  one per entry of `slots`, overwritten
  void backward(const Matrix<S>& soft, const Routing<S>& slots, const Routing<S>& routing,
                std::span<const S> dweights, std::span<S> dslots) {
    const Index n = soft.rows();
    const Eigen::Map<const Matrix<S>> by_weight(dweights.data(), n, live_.size());
    const Eigen::Map<const Matrix<S>> weights(routing.weights().data(), n, live_.size());
    const auto dense = dense_.matrix();
    auto by_moved = moved_gradient_.shape(n, live_.size());
    auto by_dense = dense_gradient_.shape(soft.cols(), live_.size());
    const auto mean = [&](Index i) {
      const S sum = dense.col(i).sum();
      return sum > S(0) ? by_weight.col(i).dot(weights.col(i)) / sum : S(0);
    };
    for (Index i = 0; i < live_.size(); ++i)
      by_moved.col(i) = scales_[std::size_t(i)] * (by_weight.col(i).array() - mean(i)).matrix();
    by_dense.noalias() = soft.transpose() * by_moved;
    for (Index i = 0; i < live_.size(); ++i) by_dense.col(i).array() += mean(i);
    std::size_t entry = 0;
    for (Index i = 0; i < live_.size(); ++i)
      for (const ExpertId slot : slots.experts(live_[i])) dslots[entry++] = by_dense(slot, i);
  }

  /// Adds the gradient by P that backward() found.
  void add_gradient(Matrix<S>& gradient) const {
    gradient.noalias() += moved_gradient_.matrix() * dense_.matrix().transpose();
  }

 private:
  LiveSamples live_;
  std::vector<std::int32_t> sizes_;  // B: entries of each sample
  Buffer<S> dense_;                  // slots x live samples: what the gate said
  Buffer<S> dense_gradient_;         // slots x live samples
  Buffer<S> moved_gradient_;         // n x live samples: derivative by the weights before scaling
  AlignedVector<S> scales_;          // live samples
};

}  // namespace comet::detail
