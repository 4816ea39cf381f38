// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace programs::movielens {

/// \brief The number in the whole of `text`, or nothing.
///
/// With a point or a comma before its decimals, and a sign or none: "3.5", "3,5", "+3", "1e-2". No
/// thousands separators; "nan" and "inf" are numbers.
[[nodiscard]] std::optional<float> number_in(std::string_view text);

/// Could the comma in a number be a thousands separator, too, as in "1,250"?
[[nodiscard]] bool is_ambiguous_number(std::string_view text);

/// Is it a number, but for separators between its thousands: "1,234.5", "1.234,5", "1 234",
/// "1'234"?
[[nodiscard]] bool has_thousands_separators(std::string_view text);

/// \brief The digits of a whole number, with its minus if it has one, whatever program wrote it:
/// "12", "12.0", "1,234", "1e+05". Nothing if it is anything else. Zeros in front are kept.
[[nodiscard]] std::optional<std::string> whole_number_in(std::string_view text);

/// For people: "3", "-0.5", "1000000".
[[nodiscard]] std::string shown(float value);

/// "1 row", "2 rows".
[[nodiscard]] std::string counted(std::size_t count, std::string_view noun);

}  // namespace programs::movielens
