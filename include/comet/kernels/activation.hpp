// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/types.hpp>
#include <comet/kernels/columns.hpp>
#include <comet/kernels/normal.hpp>
#include <comet/kernels/simd.hpp>

namespace comet {

/// \brief What a linear map does to its result z.
enum class Activation {
  identity,
  relu,  ///< max(0, z)
  gelu,  ///< z Phi(z), Phi of the normal distribution (Hendrycks and Gimpel, 2016), not its tanh
  silu   ///< z / (1 + exp(-z)) (Elfwing et al., 2018), "swish"
};

namespace detail {

/// Whether the derivative is a function of z that cannot be told from the result: whoever trains
/// has to keep it.
[[nodiscard]] constexpr bool keeps_slope(Activation activation) {
  return activation == Activation::gelu || activation == Activation::silu;
}

/// What a function has at some places, and its derivative.
template <class S>
struct WithSlope {
  Packet<S> value;
  Packet<S> slope;
};

/// z Phi(z), and Phi(z) + z Phi'(z).
template <class S>
[[nodiscard]] EIGEN_ALWAYS_INLINE WithSlope<S> gelu(const Packet<S>& z) {
  const Normal<S> at = normal<S>(z);
  return {simd::pmul(z, at.below), simd::pmadd(z, at.density, at.below)};
}

/// z s and s + z s (1 - s), where s = 1 / (1 + exp(-z)).
template <class S>
[[nodiscard]] EIGEN_ALWAYS_INLINE WithSlope<S> silu(const Packet<S>& z) {
  const auto one = simd::pset1<Packet<S>>(S(1));
  const Packet<S> share = simd::pdiv(one, simd::padd(one, simd::pexp(simd::pnegate(z))));
  const Packet<S> y = simd::pmul(z, share);
  return {y, simd::pmadd(y, simd::psub(one, share), share)};
}

/// \brief z = activation(z) for a column, and its derivative at z if that is wanted; of those that
/// keep their slope.
/// \param slope  as long as z; null if not wanted
template <class S>
void activate_smooth(Activation activation, Index size, S* z, S* slope) {
  const auto activate = [&](auto f) {
    if (slope == nullptr) return map_column(size, z, [&](auto load) { return f(load(z)).value; });
    map_with_slope(size, z, slope, [&](auto load) { return f(load(z)); });
  };
  if (activation == Activation::gelu) activate([](const auto& at) { return gelu<S>(at); });
  if (activation == Activation::silu) activate([](const auto& at) { return silu<S>(at); });
}

/// The gradient before the activation, in place: dy *= activation'(z), where y = activation(z).
/// `scale` is dropout's factor: with ReLU a value that was dropped is 0, as one that was cut off.
/// Not for an activation that keeps its slope: there dy *= slope.
template <class S, class Y, class DY>
void activation_backward(Activation activation, S scale, const Y& y, DY&& dy) {
  if (activation == Activation::identity) return;
  for (Index c = 0; c < dy.cols(); ++c) {
    const S* output = y.col(c).data();
    S* gradient = dy.col(c).data();
    Index i = 0;
    for (; i + lanes<S> <= dy.rows(); i += lanes<S>) {
      const auto on =
          simd::pcmp_lt(simd::pset1<Packet<S>>(S(0)), simd::ploadu<Packet<S>>(output + i));
      const auto scaled =
          simd::pmul(simd::ploadu<Packet<S>>(gradient + i), simd::pset1<Packet<S>>(scale));
      simd::pstoreu(gradient + i, simd::pand(on, scaled));
    }
    for (; i < dy.rows(); ++i) gradient[i] = S(0) < output[i] ? gradient[i] * scale : S(0);
  }
}

}  // namespace detail

}  // namespace comet
