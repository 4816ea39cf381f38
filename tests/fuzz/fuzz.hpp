// SPDX-License-Identifier: MIT
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>

/// \file
/// \brief What the fuzz targets share. libFuzzer (clang) has the main().

namespace comet::fuzz {

/// \brief What must hold, or the fuzzer keeps the input that broke it.
inline void expect(bool holds, const char* law) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", law);
  std::abort();
}

/// \brief A file in memory, with a path that any reader can open. Linux only.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view content) : descriptor_(::memfd_create("fuzz", 0)) {
    const ssize_t written = ::write(descriptor_, content.data(), content.size());
    expect(written == ssize_t(content.size()), "a file in memory takes its content");
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { ::close(descriptor_); }

  [[nodiscard]] std::filesystem::path path() const {
    return "/proc/self/fd/" + std::to_string(descriptor_);
  }

 private:
  int descriptor_;
};

/// \brief An input as a row of numbers; zeros follow its end.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

  [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }

  template <class T>
  [[nodiscard]] T take() {
    T value{};
    const std::size_t count = std::min(sizeof value, rest_.size());
    if (count > 0) std::memcpy(&value, rest_.data(), count);
    rest_ = rest_.subspan(count);
    return value;
  }

  /// One byte as a whole number from low to high, high - low < 256.
  [[nodiscard]] std::ptrdiff_t between(std::ptrdiff_t low, std::ptrdiff_t high) {
    return low + take<std::uint8_t>() % (high - low + 1);
  }

  /// \brief A number of the sort that breaks things: zeros, the ends of the range, nan, any bits.
  template <class S>
  [[nodiscard]] S number() {
    using Limits = std::numeric_limits<S>;
    const S special[] = {S(0),
                         -S(0),
                         S(1),
                         -S(1),
                         S(0.5),
                         S(-0.5),
                         S(1e-6),
                         Limits::min(),
                         Limits::max(),
                         -Limits::max(),
                         Limits::denorm_min(),
                         -Limits::denorm_min(),
                         Limits::infinity(),
                         -Limits::infinity(),
                         Limits::quiet_NaN(),
                         S(1e30)};
    const auto choice = take<std::uint8_t>();
    if (choice < 16) return special[choice];
    if (choice < 32) return take<S>();
    return S(int(choice) - 144) / S(32);
  }

 private:
  std::span<const std::uint8_t> rest_;
};

}  // namespace comet::fuzz
