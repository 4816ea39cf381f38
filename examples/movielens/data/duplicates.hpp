// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <movielens/data/row_reader.hpp>

namespace programs::movielens {

/// \brief Makes one row of those of the same user and item.
/// \param rows  sorted by user, item and line
/// \param how   one of duplicates_names()
/// \param user_ids, item_ids, file  for the message
/// \throws FileError at the second of two such rows, naming the first, if they are an error
void merge_duplicates(std::vector<Row>& rows, std::string_view how,
                      std::span<const std::string> user_ids, std::span<const std::string> item_ids,
                      const std::filesystem::path& file);

}  // namespace programs::movielens
