// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <numbers>

#include <comet/core/types.hpp>
#include <comet/kernels/columns.hpp>
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

template <class S>
void gelu(Index size, S* z, S* slope) {
  constexpr S half = S(0.5), root = S(std::numbers::sqrt2 / 2);
  constexpr S density_at_0 = S(std::numbers::inv_sqrtpi * std::numbers::sqrt2 / 2);
  for (Index i = 0; i < size; ++i) {
    const S phi = half * std::erfc(-z[i] * root);  // exact in the lower tail, too
    if (slope != nullptr) slope[i] = phi + z[i] * (density_at_0 * std::exp(-half * z[i] * z[i]));
    z[i] *= phi;
  }
}

template <class S>
void silu(Index size, S* z, S* slope) {
  const auto one = simd::pset1<Packet<S>>(S(1));
  const auto sigmoid = [&](const Packet<S>& t) {
    return simd::pdiv(one, simd::padd(one, simd::pexp(simd::pnegate(t))));
  };
  if (slope == nullptr)
    return map_column(size, z, [&](auto load) { return simd::pmul(load(z), sigmoid(load(z))); });
  map_column(size, slope, [&](auto load) { return sigmoid(load(z)); });
  map_column(size, z, [&](auto load) { return simd::pmul(load(z), load(slope)); });
  map_column(size, slope, [&](auto load) {  // s + z s (1 - s)
    return simd::pmadd(load(z), simd::psub(one, load(slope)), load(slope));
  });
}

/// \brief z = activation(z) for a column, and its derivative at z if that is wanted; of those that
/// keep their slope.
/// \param slope  as long as z; null if not wanted
template <class S>
void activate_smooth(Activation activation, Index size, S* z, S* slope) {
  if (activation == Activation::gelu) gelu(size, z, slope);
  if (activation == Activation::silu) silu(size, z, slope);
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
