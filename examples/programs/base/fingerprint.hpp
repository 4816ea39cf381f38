// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <type_traits>

#include <comet/core/byte_fingerprint.hpp>

#include <programs/base/text_table.hpp>

namespace programs {

/// \brief Tells data from others under the same name, by their bytes as they lie in memory.
class Fingerprint {
 public:
  /// \param values  numbers or characters
  template <class T>
  Fingerprint& add(std::span<const T> values) {
    static_assert(std::is_arithmetic_v<T>, "padding would be part of it");
    bytes_.add(values.data(), values.size_bytes());
    return *this;
  }

  /// Sixteen digits.
  [[nodiscard]] std::string text() const {
    return formatted("%016llx", static_cast<unsigned long long>(bytes_.value()));
  }

 private:
  comet::detail::ByteFingerprint bytes_;
};

}  // namespace programs
