// SPDX-License-Identifier: MIT
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include <programs/base/text_table.hpp>

namespace programs {

/// \brief Tells data from others under the same name: FNV-1a of 64 bits (Fowler, Noll and Vo), of
/// bytes as they lie in memory. Against accidents, not against intent.
class Fingerprint {
 public:
  /// \param values  numbers or characters
  template <class T>
  Fingerprint& add(std::span<const T> values) {
    static_assert(std::is_arithmetic_v<T>, "padding would be part of it");
    for (const std::byte byte : std::as_bytes(values))
      hash_ = (hash_ ^ std::to_integer<std::uint64_t>(byte)) * 1099511628211U;
    return *this;
  }

  /// Sixteen digits.
  [[nodiscard]] std::string text() const {
    return formatted("%016llx", static_cast<unsigned long long>(hash_));
  }

 private:
  std::uint64_t hash_ = 14695981039346656037U;
};

}  // namespace programs
