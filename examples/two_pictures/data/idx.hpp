// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include <comet/core/types.hpp>

/// \file
/// \brief The format of MNIST and of all sets that came after it, as it is or packed with gzip:
/// told by the content, not by the name.

namespace programs::two_pictures {

using comet::Index;

/// \brief Grey pictures of one size: a byte a pixel, row by row, 0 is the background.
struct Pictures {
  Index height = 0;
  Index width = 0;
  std::vector<std::uint8_t> pixels;

  [[nodiscard]] Index size() const {
    return height * width == 0 ? 0 : Index(pixels.size()) / (height * width);
  }
  [[nodiscard]] std::span<const std::uint8_t> operator[](Index picture) const {
    const auto area = std::size_t(height * width);
    return std::span(pixels).subspan(std::size_t(picture) * area, area);
  }
};

/// \throws FileError unless the file holds exactly the pictures that it says, one at least
[[nodiscard]] Pictures read_pictures(const std::filesystem::path& file);

/// \throws FileError unless the file holds exactly the labels that it says
[[nodiscard]] std::vector<std::uint8_t> read_labels(const std::filesystem::path& file);

}  // namespace programs::two_pictures
