// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

#include <Eigen/Core>

namespace comet {

/// \brief How the weights of something that only predicts are kept. Arithmetic is in the scalar
/// type of the part; with int8, inputs are rounded to 16 bits and sums are of integers.
enum class Storage {
  full,  ///< As trained.
  bf16,  ///< The upper half of a float: half the memory, 8 bits of precision.
  int8   ///< 8 bits and a scale for each output: w is about scale * q, q in -127..127.
};

/// \brief 16 bits: 8 of the exponent, as a float has, and 7 of the fraction.
using Bfloat16 = Eigen::bfloat16;

namespace detail {

/// What a parameter may be kept as.
template <class T>
concept StorageType = std::floating_point<T> || std::same_as<T, Bfloat16> ||
    std::same_as<T, Eigen::half> || std::same_as<T, std::int8_t>;

}  // namespace detail

}  // namespace comet
