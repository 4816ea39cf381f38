// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/columns.hpp>
#include <comet/losses/detail/same_shape.hpp>

namespace comet {

namespace detail {

/// \brief log sum exp(h) of one column, and p = softmax(h) unless p is null: softmax() for any
/// number of classes, whose terms are added in double run by run. Not finite if a logit is not a
/// number.
template <class S>
S log_sum_exp(const S* h, Index size, S* p = nullptr) {
  constexpr Index run = 256;
  const S largest = Eigen::Map<const Vector<S>>(h, size).maxCoeff();
  const auto all = [](S value) { return simd::pset1<Packet<S>>(value); };
  S terms[std::size_t(run)];
  double total = 0;
  for (Index first = 0; first < size; first += run) {
    const Index width = std::min(run, size - first);
    S* const share = p == nullptr ? terms : p + first;
    map_column(width, share, [&](auto load) {
      const Packet<S> t = simd::psub(load(h + first), all(largest));
      return simd::pselect(simd::pcmp_eq(t, t), simd::pexp(t), t);
    });
    total += double(sum_column<S>(width, [&](auto load) { return load(share); }));
  }
  const S sum = S(total);
  if (p != nullptr) {
    const S factor = S(1) / sum;
    map_column(size, p, [&](auto load) { return simd::pmul(load(p), all(factor)); });
  }
  return largest + std::log(sum);
}

}  // namespace detail

/// Settings of softmax_cross_entropy().
struct SoftmaxCrossEntropyOptions {
  /// Share a in [0, 1) of the target that all classes have alike (Szegedy et al., CVPR 2016).
  double label_smoothing = 0;
};

/// \brief Mean cross-entropy of softmax(z) against class numbers, in nats.
///
///     L = 1/B sum_b log sum_c exp(z(c, b)) - z(class_b, b)
///     dL/dz(c, b) = (softmax(z)_c - [c = class_b]) / B
///
/// With label smoothing a, the target has (1 - a) [c = class_b] + a / C in place of [c = class_b].
///
/// \param logits    z, C x B, one class per row
/// \param classes   B numbers in 0..C-1
/// \param gradient  C x B, overwritten by dL/dz; or no_gradient. It may be the logits' own memory
/// \return L, summed in double; 0 if B is 0
/// \throws std::invalid_argument if shapes differ, naming the first class that is out of range
/// \throws NotFinite naming the first logit that is not finite, or if the loss overflows
template <class Logits>
double softmax_cross_entropy(const Eigen::DenseBase<Logits>& logits,
                             std::span<const std::int32_t> classes,
                             MatrixView<typename Logits::Scalar> gradient,
                             const SoftmaxCrossEntropyOptions& options = {}) {
  using S = typename Logits::Scalar;
  constexpr const char* where = "softmax_cross_entropy";
  const ConstMatrixView<S> z(logits);
  detail::check_equal(where, "classes.size()", Index(classes.size()), "logits.cols()", z.cols());
  detail::check_rate(where, "label_smoothing", options.label_smoothing);
  const bool wants_gradient = gradient.size() > 0;
  if (wants_gradient) detail::check_same_shape(where, "gradient", gradient, "logits", z);
  if (z.cols() == 0) return 0;
  const S scale = S(1) / S(z.cols());
  const double smoothing = options.label_smoothing;
  double sum = 0;
  for (Index b = 0; b < z.cols(); ++b) {
    const Index target = classes[std::size_t(b)];
    if (target < 0 || target >= z.rows()) [[unlikely]]
      detail::raise(where, "classes[" + std::to_string(b) + "]", target,
                    "in 0.." + std::to_string(z.rows() - 1));
    // An exponential hides -inf, and the gradient may take the logits' place.
    if (!detail::all_finite(z.col(b).array())) [[unlikely]]
      detail::raise_not_finite_at(where, "logits", z, b);
    const S* const h = z.col(b).data();
    const S of_target = h[target];  // gradient may be the logits' own memory
    if (smoothing > 0)
      sum += smoothing * (double(of_target) - z.col(b).template cast<double>().mean());
    if (!wants_gradient) {
      sum += double(detail::log_sum_exp(h, z.rows()) - of_target);
      continue;
    }
    sum += double(detail::log_sum_exp(h, z.rows(), gradient.col(b).data()) - of_target);
    gradient(target, b) -= S(1 - smoothing);
    if (smoothing > 0) gradient.col(b).array() -= S(smoothing / double(z.rows()));
    gradient.col(b) *= scale;
  }
  if (!std::isfinite(sum)) [[unlikely]]
    detail::raise_not_finite(where, "the loss", "overflows");
  return sum / double(z.cols());
}

}  // namespace comet
