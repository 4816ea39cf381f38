// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>

#include <next_character/data/kinds_of_place.hpp>

namespace programs::next_character {

/// \brief What a gate said of a place.
struct PlaceRow {
  std::vector<comet::ExpertId> experts;  ///< ascending
  std::vector<float> weights;
  double bits = 0;  ///< that the character took

  /// The expert with the largest weight; -1 if there is none.
  [[nodiscard]] comet::ExpertId first() const;
};

/// \brief What experts came to be for: how their weight falls on the kinds of place.
struct Specialisation {
  /// Per kind and expert, the share of all places, divided among its experts by their weight.
  std::vector<std::vector<double>> share;
  double mutual_information = 0;  ///< of kind and expert, in bits
  double of_shuffled_rows = 0;    ///< the same if rows are dealt out at random: what chance gives
};

/// \param kinds  one for each row
/// \param key    the shuffle is a function of it
[[nodiscard]] Specialisation specialisation_of(std::span<const PlaceRow> rows,
                                               std::span<const KindOfPlace> kinds,
                                               comet::Index num_experts, comet::RandomKey key);

}  // namespace programs::next_character
