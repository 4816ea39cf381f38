// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <next_character/data/alphabet.hpp>

namespace programs::next_character {

/// \brief Some places of a text: what stands before them, and what stands there.
struct Batch {
  std::span<const std::int32_t> before;  ///< a window for each, first character first
  std::span<const std::int32_t> last;    ///< of each window
  std::span<const std::int32_t> next;    ///< what is to be predicted

  [[nodiscard]] std::size_t size() const noexcept { return next.size(); }
};

/// \brief The windows of a text, gathered into batches. The text is not copied.
class Windows {
 public:
  /// \param text  has to outlive this
  /// \throws std::invalid_argument unless it has more symbols than a window
  Windows(std::span<const Symbol> text, Index window) : text_(text), window_(std::size_t(window)) {
    if (text.size() <= window_)
      throw std::invalid_argument("a window of " + std::to_string(window) +
                                  " is too long for a part of the text that has " +
                                  std::to_string(text.size()) + " characters");
  }

  /// Number of places with a window before them.
  [[nodiscard]] std::size_t size() const noexcept { return text_.size() - window_; }

  /// \brief Gathers `count` places, which `place(i)` in 0..size()-1 names. Valid until the next
  /// call; a count that was seen allocates nothing.
  template <class Place>
  [[nodiscard]] Batch gather(std::size_t count, Place place) {
    before_.resize(count * window_);
    last_.resize(count);
    next_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto window = text_.subspan(place(i), window_ + 1);
      std::copy_n(window.begin(), window_, before_.begin() + std::ptrdiff_t(i * window_));
      last_[i] = window[window_ - 1];
      next_[i] = window[window_];
    }
    return {before_, last_, next_};
  }

 private:
  std::span<const Symbol> text_;
  std::size_t window_;
  std::vector<std::int32_t> before_, last_, next_;
};

}  // namespace programs::next_character
