// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include <movielens/data/ratings.hpp>

namespace programs::movielens {

struct SyntheticOptions {
  std::int32_t users = 600;
  std::int32_t items = 2000;
  std::int64_t ratings = 60000;
  std::int64_t seed = 1;  ///< >= 0
};

/// \brief Makes up ratings that behave like MovieLens, for places without network.
///
/// Users and items have tastes of rank 8. A user is more likely to watch what is popular and what
/// fits the taste, and rates it by the same taste plus user and item bias and noise, rounded to
/// half stars. Activity of users and popularity of items are skewed. Every user and every item
/// has at least one rating.
///
/// \throws std::invalid_argument unless users >= 2, items >= 2 and
///         max(users, items) <= ratings <= users * items
/// \par Cost  O(users * items): 2 s for 6,000 x 3,700
[[nodiscard]] Ratings make_synthetic_ratings(const SyntheticOptions& options);

/// \brief Writes ratings.csv and movies.csv as in MovieLens, and the file SOURCE that names them as
/// synthetic.
/// \throws FileError if one of them exists already: made-up data never replace others
void write_synthetic(const std::filesystem::path& directory, const Ratings& ratings,
                     std::string_view source);

}  // namespace programs::movielens
