// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <comet/core/permutation.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/frozen.hpp>
#include <comet/gates/detail/selectors.hpp>
#include <comet/gates/dselect_k.hpp>

namespace comet {

/// \brief A DSelect-k gate for inference: values only, permutations folded into the codes' labels.
///
/// route() gives the bits of the gate it was made from.
///
/// \par Cost     per sample k (m + 1) d multiply-adds and O(k) per live code and prefix; half the
///               gate's memory
/// \par Threads  route() is const: concurrent calls are safe with distinct routings and workspaces
/// \see freeze
template <class S>
class FrozenDSelectKGate {
 public:
  using Scalar = S;                  ///< float or double.
  using Input = ConstMatrixView<S>;  ///< What route() looks at.

  /// \brief Scratch of a FrozenDSelectKGate: give each thread its own.
  class Workspace {
    friend class FrozenDSelectKGate;
    std::vector<S> bits_;
    std::vector<S> mixture_;
    detail::Selectors<S> selectors_;
    detail::FrozenRow<S> row_;
  };

  /// \param permutations  one for all selectors, or one per selector
  FrozenDSelectKGate(const DSelectKGate<S>& gate, std::span<const Permutation> permutations)
      : shape_{gate.num_experts(), gate.num_selectors(), detail::num_code_bits(gate.num_experts()),
               S(gate.options().gamma)},
        bits_(detail::frozen_planes(gate, "bit.")),
        mixture_(detail::frozen_planes(gate, "mixture.")),
        labels_(detail::slot_labels(permutations)) {}

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return bits_.input_dim(); }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return shape_.num_experts; }
  /// Number of selectors k.
  [[nodiscard]] Index num_selectors() const noexcept { return shape_.k; }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const noexcept { return shape_.num_experts; }
  /// Width of the smooth-step.
  [[nodiscard]] S gamma() const noexcept { return shape_.gamma; }
  /// Column j m + t is bit t of selector j, the most significant first.
  [[nodiscard]] const detail::FrozenPlanes<S>& bits() const noexcept { return bits_; }
  /// Column j is selector j.
  [[nodiscard]] const detail::FrozenPlanes<S>& mixture() const noexcept { return mixture_; }
  /// The expert of code i: at i, or, with a permutation per selector, at i k + j for selector j.
  [[nodiscard]] std::span<const ExpertId> labels() const noexcept { return labels_; }

  /// \brief Routes a batch. \param x  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim(), x is not finite, or logits overflow
  void route(const ConstMatrixView<S>& x, Routing<S>& routing, Workspace& ws) const {
    ws.bits_.resize(std::size_t(bits_.size()));
    ws.mixture_.resize(std::size_t(mixture_.size()));
    detail::route_frozen("FrozenDSelectKGate::route", x, input_dim(), routing, ws.row_,
                         [&](const S* sample) { return route_sample(sample, ws); });
  }

 private:
  [[nodiscard]] bool route_sample(const S* x, Workspace& ws) const {
    for (Index h = 0; h < bits_.size(); ++h) ws.bits_[std::size_t(h)] = bits_.logit(h, x);
    for (Index j = 0; j < shape_.k; ++j) ws.mixture_[std::size_t(j)] = mixture_.logit(j, x);
    if (!ws.selectors_.descend(shape_, ws.bits_.data(), ws.mixture_.data())) [[unlikely]]
      return false;
    const auto codes = ws.selectors_.codes();
    const bool shared = Index(labels_.size()) == shape_.num_experts;
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const auto code = std::size_t(codes[i]);
      if (shared) {
        ws.row_.add(labels_[code], ws.selectors_.weight(i));
        continue;
      }
      for (Index j = 0; j < shape_.k; ++j) {
        const S weight = ws.selectors_.weight(i, j);
        if (weight != S(0))
          ws.row_.add(labels_[code * std::size_t(shape_.k) + std::size_t(j)], weight);
      }
    }
    return true;
  }

  typename detail::Selectors<S>::Shape shape_;
  detail::FrozenPlanes<S> bits_;     // d x k m
  detail::FrozenPlanes<S> mixture_;  // d x k
  std::vector<ExpertId> labels_;     // n, or n k
};

}  // namespace comet
