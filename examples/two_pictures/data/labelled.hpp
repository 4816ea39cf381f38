// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

#include <two_pictures/data/idx.hpp>

namespace programs::two_pictures {

inline constexpr Index num_classes = 10;

/// \brief Pictures with the class of each.
struct Labelled {
  Pictures pictures;
  std::vector<std::uint8_t> labels;

  [[nodiscard]] Index size() const { return Index(labels.size()); }
};

/// \brief Reads the files of a set: `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` for the
/// prefix "train-", also spelled with a point in place of the second hyphen, and with `.gz`.
/// \return nothing if the folder has neither
/// \throws FileError for a file that is missing or broken, unequal numbers of pictures and labels,
///         and a label beyond 9
[[nodiscard]] std::optional<Labelled> read_labelled(const std::filesystem::path& folder,
                                                    const std::string& prefix);

/// The files of a set that are there, of those that read_labelled() would read.
[[nodiscard]] std::vector<std::filesystem::path> files_of(const std::filesystem::path& folder,
                                                          const std::string& prefix);

/// \brief Pictures by their numbers, in two parts of which each has its share of every class.
struct Parts {
  std::vector<std::int32_t> most;
  std::vector<std::int32_t> few;  ///< of every class the count over `one_of`, at least one
};

/// \brief Deals out pictures class by class, in a random order that the key decides.
[[nodiscard]] Parts split_by_class(std::span<const std::uint8_t> labels,
                                   std::span<const std::int32_t> pictures, Index one_of,
                                   comet::RandomKey key);

}  // namespace programs::two_pictures
