// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace programs::movielens {

/// \brief Numbers ids, which may be any text, in the order of their first appearance.
class IdIndex {
 public:
  /// The same for both encodings of an id.
  std::int32_t number_of(std::string_view text);

  /// \brief The ids in their final order, and the final number of each provisional one.
  ///
  /// Shorter ids come first, then the alphabet counts. Different spellings of a number are one id
  /// if all ids are numbers, see spell_alike().
  std::pair<std::vector<std::string>, std::vector<std::int32_t>> sorted() &&;

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::int32_t find_or_add(std::string_view text);

  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> numbers_;
  std::vector<std::string> ids_;
  std::int32_t last_ = 0;  // most files have the rows of a user together
};

/// \brief If all ids are whole numbers, however written, writes them in digits: "1.0" and "1,000",
/// which data frames and spreadsheets make of 1 and 1000. Does nothing if one is another text, and
/// keeps zeros in front.
/// \return whether any of them is another text now
bool spell_alike(std::vector<std::string>& ids);

}  // namespace programs::movielens
