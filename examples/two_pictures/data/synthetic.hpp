// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>

#include <comet/core/random.hpp>

#include <two_pictures/data/labelled.hpp>

namespace programs::two_pictures {

/// \brief Made-up digits of seven bars, 28 x 28 pixels, each of another size, place and brightness,
/// some bars faint, in noise: for places where no real pictures can be had.
[[nodiscard]] Labelled make_synthetic_pictures(std::int64_t count, comet::RandomKey key);

/// \brief Writes a set in the format of MNIST, and SOURCE, which says what it is.
/// \throws FileError if there are pictures, labels or a SOURCE already, or a file cannot be written
void write_synthetic(const std::filesystem::path& folder, const Labelled& train,
                     const Labelled& test, const std::string& source);

}  // namespace programs::two_pictures
