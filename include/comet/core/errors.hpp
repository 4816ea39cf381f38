// SPDX-License-Identifier: MIT
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

/// \file
/// \brief The two kinds of error: a caller's mistake is std::invalid_argument, numbers that ran
/// away are NotFinite.

namespace comet {

/// \brief A number that is nan or infinite, or overflowed: a training that diverges, mostly.
/// Thrown by whoever sees it first, a gate, a loss or an optimizer.
class NotFinite : public std::runtime_error {
 public:
  /// \param where   the function, e.g. "Adam::step"
  /// \param tensor  what is not finite, e.g. "experts.3.weight"
  /// \param what    the rest of the sentence
  NotFinite(std::string_view where, std::string_view tensor, std::string_view what)
      : std::runtime_error("comet::" + std::string(where) + ": " + std::string(tensor) + ' ' +
                           std::string(what)),
        where_(where),
        tensor_(tensor) {}

  /// The function that saw it.
  [[nodiscard]] const std::string& where() const noexcept { return where_; }
  /// The tensor, and the place in it where that is known: `x(3, 17)`.
  [[nodiscard]] const std::string& tensor() const noexcept { return tensor_; }

 private:
  std::string where_;
  std::string tensor_;
};

}  // namespace comet
