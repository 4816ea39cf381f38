// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace programs::movielens {

/// What a column may be.
enum class Role { user, item, rating, title };

/// \brief The column that has a role by its name, from 0.
///
/// Names are compared by their letters and digits: "User-ID", "user_id" and "userId" are one, as is
/// "user_id:token". If several columns have names of the role, the more usual name counts: movieId
/// before title.
///
/// \return nothing if no name is known, or if two columns have the same one
[[nodiscard]] std::optional<std::size_t> column_of(Role role,
                                                   std::span<const std::string_view> header);

/// Do two columns have the name that counts for the role?
[[nodiscard]] bool is_named_twice(Role role, std::span<const std::string_view> header);

/// Does the line name user, item and rating, whatever else is in it?
[[nodiscard]] bool names_ratings(std::span<const std::string_view> line);

/// Is there no number in it, and something else?
[[nodiscard]] bool has_only_words(std::span<const std::string_view> line);

/// Letters and digits in lower case, up to a colon.
[[nodiscard]] std::string plain_name(std::string_view name);

/// ASCII letters of either case are equal.
[[nodiscard]] bool equal_without_case(std::string_view a, std::string_view b);

/// For messages: "a", "b", "c".
[[nodiscard]] std::string listed(std::span<const std::string_view> fields);

}  // namespace programs::movielens
