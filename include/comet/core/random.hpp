// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <numbers>
#include <span>
#include <utility>

#include <comet/core/types.hpp>

namespace comet {

/// \brief Counter-based random numbers: a value is a pure function of (key, counter).
///
/// Nothing is consumed and nothing is shared, so the same seed gives the same bits for any number
/// of threads, any order of evaluation and after any resume. Keys are derived by place:
/// `RandomKey(seed).fold(step).fold(layer)`. The standard distributions are avoided because their
/// values differ between standard libraries.
///
/// Generator: SplitMix64 read at an arbitrary position (Steele, Lea and Flood, OOPSLA 2014).
/// Not for cryptography.
class RandomKey {
 public:
  /// All random numbers of a program can follow from one seed.
  explicit constexpr RandomKey(std::uint64_t seed) noexcept : key_(seed) {}

  /// A key for the numbered place below this one, statistically independent of its siblings.
  [[nodiscard]] constexpr RandomKey fold(std::integral auto place) const noexcept {
    const auto number = static_cast<std::uint64_t>(place);
    return RandomKey(mix(mix(key_ ^ 0x5851f42d4c957f2dULL) + gamma * (number + 1)));
  }

  /// 64 uniform bits.
  [[nodiscard]] constexpr std::uint64_t bits(std::uint64_t counter) const noexcept {
    return mix(key_ + gamma * (counter + 1));
  }

  /// \brief Puts bits() of every lane in place of a vector of counters.
  /// \tparam Words  a vector of std::uint64_t in the compiler's words: several numbers then take
  ///                little longer than one
  template <class Words>
  void to_bits(Words& counters) const noexcept {
    counters = key_ + gamma * (counters + 1);
    mix_in_place(counters);
  }

  /// Uniform in [0, 1), a multiple of 2^-53.
  [[nodiscard]] constexpr double uniform(std::uint64_t counter) const noexcept {
    return static_cast<double>(bits(counter) >> 11) * 0x1.0p-53;
  }

  /// Uniform in [low, high), but for rounding, which may give high.
  [[nodiscard]] constexpr double uniform(std::uint64_t counter, double low,
                                         double high) const noexcept {
    return low + (high - low) * uniform(counter);
  }

  /// Standard normal (Box and Muller), uses counters 2 c and 2 c + 1 of a folded key.
  [[nodiscard]] double normal(std::uint64_t counter) const noexcept {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform(2 * counter)));
    return radius * std::cos(2.0 * std::numbers::pi * uniform(2 * counter + 1));
  }

  /// Uniform in 0..bound-1, bound >= 1, by the high half of a 64 x 64 bit product. The bias is
  /// below bound * 2^-64.
  [[nodiscard]] constexpr std::uint64_t index(std::uint64_t counter,
                                              std::uint64_t bound) const noexcept {
    const std::uint64_t r = bits(counter);
    const std::uint64_t low = (r & 0xffffffffULL) * (bound & 0xffffffffULL);
    const std::uint64_t mid1 = (r >> 32) * (bound & 0xffffffffULL);
    const std::uint64_t mid2 = (r & 0xffffffffULL) * (bound >> 32);
    const std::uint64_t carry =
        ((low >> 32) + (mid1 & 0xffffffffULL) + (mid2 & 0xffffffffULL)) >> 32;
    return (r >> 32) * (bound >> 32) + (mid1 >> 32) + (mid2 >> 32) + carry;
  }

  /// Puts the elements in a random order (Fisher and Yates).
  template <class T>
  constexpr void shuffle(std::span<T> values) const {
    for (std::size_t i = values.size(); i > 1; --i)
      std::swap(values[i - 1], values[static_cast<std::size_t>(index(i, i))]);
  }

  /// Fills a matrix with numbers uniform in [low, high), but for rounding, counted in storage order.
  template <class Derived>
  void fill_uniform(Eigen::MatrixBase<Derived>& values, double low, double high) const {
    using S = typename Derived::Scalar;
    std::uint64_t counter = 0;
    for (Index c = 0; c < values.cols(); ++c)
      for (Index r = 0; r < values.rows(); ++r)
        values.derived()(r, c) = static_cast<S>(uniform(counter++, low, high));
  }

  /// The key as a number, for logs.
  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return key_; }

  friend constexpr bool operator==(RandomKey, RandomKey) noexcept = default;

 private:
  static constexpr std::uint64_t gamma = 0x9e3779b97f4a7c15ULL;

  // By reference: how vectors are handed over depends on the machine that is compiled for.
  template <class Words>
  static constexpr void mix_in_place(Words& z) noexcept {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    z = z ^ (z >> 31);
  }
  static constexpr std::uint64_t mix(std::uint64_t z) noexcept {
    mix_in_place(z);
    return z;
  }

  std::uint64_t key_;
};

}  // namespace comet
