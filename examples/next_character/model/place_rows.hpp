// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <next_character/data/windows.hpp>
#include <next_character/model/model.hpp>
#include <next_character/model/specialisation.hpp>

namespace programs::next_character {

/// \brief What the gate says of the first places of a text that have a window before them, `count`
/// of them at most, and how many bits each took.
[[nodiscard]] std::vector<PlaceRow> place_rows(const Model& model, std::span<const Symbol> text,
                                               Index window, std::size_t batch_size,
                                               std::size_t count);

}  // namespace programs::next_character
