// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/softmax.hpp>

namespace comet {

/// \brief Mean cross-entropy of softmax(z) against class numbers, in nats.
///
///     L = 1/B sum_b log sum_c exp(z(c, b)) - z(class_b, b)
///     dL/dz(c, b) = (softmax(z)_c - [c = class_b]) / B
///
/// \param logits    z, C x B, one class per row
/// \param classes   B numbers in 0..C-1
/// \param gradient  C x B, overwritten by dL/dz
/// \return L; 0 if B is 0
/// \throws std::invalid_argument if shapes differ, naming the first class that is out of range, or
///         if the loss is not finite
template <class S>
S softmax_cross_entropy(const ConstMatrixView<S>& logits, std::span<const std::int32_t> classes,
                        MatrixView<std::type_identity_t<S>> gradient) {
  constexpr const char* where = "softmax_cross_entropy";
  detail::check_equal(where, "classes.size()", Index(classes.size()), "logits.cols()",
                      logits.cols());
  detail::check_equal(where, "gradient.rows()", gradient.rows(), "logits.rows()", logits.rows());
  detail::check_equal(where, "gradient.cols()", gradient.cols(), "logits.cols()", logits.cols());
  if (logits.cols() == 0) return S(0);
  const S scale = S(1) / S(logits.cols());
  S sum = 0;
  for (Index b = 0; b < logits.cols(); ++b) {
    const Index target = classes[std::size_t(b)];
    if (target < 0 || target >= logits.rows()) [[unlikely]]
      detail::raise(where, "classes[" + std::to_string(b) + "]", target,
                    "in 0.." + std::to_string(logits.rows() - 1));
    const S z = detail::softmax(logits.col(b).data(), logits.rows(), gradient.col(b).data());
    sum += z - logits(target, b);
    gradient(target, b) -= S(1);
    gradient.col(b) *= scale;
  }
  if (!std::isfinite(sum)) [[unlikely]] {
    detail::check_finite(where, "logits", logits);
    detail::raise(where, "the loss overflows");
  }
  return sum * scale;
}

}  // namespace comet
