// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/gate_forward.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief A batch as gates and layers see it: features, ids and a mask travel together, and each
/// part reads what it needs.
///
/// \code
///   gate.route(x, routing, pass);                      // features alone
///   gate.route(Samples{x, ids}, routing, pass);        // and an id per sample, for a Hash gate
///   gate.route(Samples{x, ids, mask}, routing, pass);  // some columns are padding
/// \endcode
///
/// A masked sample (mask 0) is padding, of a sentence for example. It is routed nowhere, costs
/// nothing, its features are not looked at, and it takes no part in means over the batch.
///
/// A view: what it was made from has to stay.
template <class S>
struct Samples {
  ConstMatrixView<S> features;              ///< d x B
  std::span<const std::int32_t> ids = {};   ///< B, or none
  std::span<const std::uint8_t> mask = {};  ///< B, 1 for a sample and 0 for padding; or none
  /// Number of the first of them in a batch of which this is a piece: noise is drawn by that
  /// number.
  Index first = 0;

  /// Features, and ids and a mask if there are any.
  template <class D>
  Samples(const Eigen::DenseBase<D>& x, std::span<const std::int32_t> sample_ids = {},
          std::span<const std::uint8_t> sample_mask = {})  // NOLINT: conversion is the purpose
      : features(x), ids(sample_ids), mask(sample_mask) {}
  /// Features that are a view already.
  Samples(const ConstMatrixView<S>& x, std::span<const std::int32_t> sample_ids = {},
          std::span<const std::uint8_t> sample_mask = {})  // NOLINT: conversion is the purpose
      : features(x), ids(sample_ids), mask(sample_mask) {}

  /// The same samples with other features.
  [[nodiscard]] Samples with_features(const ConstMatrixView<S>& x) const {
    Samples result(x, ids, mask);
    result.first = first;
    return result;
  }

  /// Number of samples B, padding included.
  [[nodiscard]] Index size() const { return features.cols(); }
  /// Number of features d.
  [[nodiscard]] Index dim() const { return features.rows(); }
  /// Whether sample b is one and no padding.
  [[nodiscard]] bool is_live(Index b) const { return mask.empty() || mask[std::size_t(b)] != 0; }

  /// \brief Checks sizes, and that features of live samples are finite.
  /// \throws std::invalid_argument naming what does not fit
  /// \throws NotFinite naming the first feature that is not finite
  void validate(std::string_view where) const {
    if (!ids.empty())
      detail::check_equal(where, "samples.ids.size()", Index(ids.size()), "x.cols()", size());
    if (mask.empty()) {
      detail::check_finite(where, "x", features);
      return;
    }
    detail::check_equal(where, "samples.mask.size()", Index(mask.size()), "x.cols()", size());
    for (Index b = 0; b < size(); ++b)
      if (is_live(b) && !detail::all_finite(features.col(b).array())) [[unlikely]]
        detail::raise_not_finite_at(where, "x", features, b);
  }
  /// \brief The same for a part that needs so many features.
  void validate(std::string_view where, Index input_dim) const {
    detail::check_equal(where, "x.rows()", dim(), "input_dim", input_dim);
    validate(where);
  }
  /// \brief Checks what a gate's backward() is given.
  /// \param num_samples  of the forward() that the pass holds, negative if it holds none
  /// \throws std::invalid_argument if it holds none, naming what does not fit otherwise
  void validate_backward(std::string_view where, const Routing<S>& routing,
                         std::span<const S> dweights, const MatrixView<S>& dx,
                         Index num_samples) const {
    if (num_samples < 0) [[unlikely]]
      detail::raise(where, "the pass holds no forward(); call it first");
    detail::check_equal(where, "x.cols()", size(), "samples of the last forward()", num_samples);
    detail::check_equal(where, "routing.num_samples()", routing.num_samples(), "x.cols()", size());
    detail::check_equal(where, "dweights.size()", Index(dweights.size()), "routing.num_entries()",
                        routing.num_entries());
    detail::check_input_gradient(where, dx, features);
  }
  /// \brief The same, and that the forward() was of this gate and gave these rows.
  void validate_backward(std::string_view where, const Routing<S>& routing,
                         std::span<const S> dweights, const MatrixView<S>& dx,
                         const detail::GateForward& forward, const detail::Identity& gate) const {
    validate_backward(where, routing, dweights, dx, forward.num_samples());
    forward.check(where, gate, dim(), routing);
  }
};

template <class D>
Samples(const Eigen::DenseBase<D>&, std::span<const std::int32_t> = {},
        std::span<const std::uint8_t> = {}) -> Samples<typename D::Scalar>;

/// \brief The numbers of the samples that are no padding, ascending.
class LiveSamples {
 public:
  /// Takes stock of a batch; allocates only for a mask, and only when it grows.
  template <class S>
  void assign(const Samples<S>& samples) {
    list_.clear();
    masked_ = !samples.mask.empty();
    size_ = samples.size();
    if (!masked_) return;
    for (Index b = 0; b < samples.size(); ++b)
      if (samples.is_live(b)) list_.push_back(SampleId(b));
    size_ = Index(list_.size());
  }

  /// How many there are.
  [[nodiscard]] Index size() const noexcept { return size_; }
  /// Whether the batch has a mask.
  [[nodiscard]] bool masked() const noexcept { return masked_; }
  /// The i-th of them.
  [[nodiscard]] Index operator[](Index i) const {
    return masked_ ? Index(list_[std::size_t(i)]) : i;
  }

 private:
  std::vector<SampleId> list_;
  Index size_ = 0;
  bool masked_ = false;
};

}  // namespace comet
