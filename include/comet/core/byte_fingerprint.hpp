// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

namespace comet::detail {

/// \brief Tells one set of bytes from another, against accidents and not against intent: FNV-1a of
/// 64 bits (Fowler, Noll and Vo).
class ByteFingerprint {
 public:
  /// Goes on behind what was added before.
  ByteFingerprint& add(const void* bytes, std::size_t size) {
    const auto* each = static_cast<const unsigned char*>(bytes);
    for (std::size_t i = 0; i < size; ++i) value_ = (value_ ^ each[i]) * 0x100000001b3ULL;
    return *this;
  }
  [[nodiscard]] std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325ULL;
};

}  // namespace comet::detail
