// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <next_character/model/specialisation.hpp>

namespace programs::next_character {

/// \brief A page for a browser, complete in itself: a passage of text in which every character has
/// the colour of the expert that had the most weight when it was predicted, and a table of what the
/// experts came to be for.
struct ExpertPage {
  std::string title;
  std::string_view passage;        ///< as it stands in the text
  std::span<const PlaceRow> rows;  ///< one for each character of the passage
  const Specialisation& experts;   ///< over as many places as were looked at
};

[[nodiscard]] std::string html_of(const ExpertPage& page);

}  // namespace programs::next_character
