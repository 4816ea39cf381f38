// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include <comet/core/check.hpp>

namespace comet::detail {

/// \brief A number that no other object has: a copy gets one of its own, and what is assigned to
/// gets a new one. By it a pass knows the part that filled it, where an address would be that of
/// whatever has come to lie there.
class Identity {
 public:
  Identity() noexcept : number_(next()) {}
  Identity(const Identity&) noexcept : Identity() {}
  Identity& operator=(const Identity&) noexcept {
    number_ = next();
    return *this;
  }
  ~Identity() = default;

  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }

 private:
  static std::uint64_t next() noexcept {
    static std::atomic<std::uint64_t> last = 0;
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
  }

  std::uint64_t number_;  // >= 1
};

/// \brief Whose forward() a pass holds for the one backward() that may follow.
class FilledBy {
 public:
  void clear() noexcept { number_ = 0; }
  void set(const Identity& part) noexcept { number_ = part.number(); }
  /// \param what  the part in a word: `layer`
  /// \throws std::invalid_argument unless the pass holds a forward() of this part
  void check(std::string_view where, const Identity& part, const char* what) const {
    if (number_ == part.number()) [[likely]]
      return;
    if (number_ == 0)
      raise(where,
            "the pass holds no forward(), or a backward() has used it; call forward() first");
    raise(where, std::string("the pass holds a forward() of another ") + what);
  }

 private:
  std::uint64_t number_ = 0;  // none
};

}  // namespace comet::detail
