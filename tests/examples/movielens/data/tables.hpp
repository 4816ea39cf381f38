// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <movielens/data/ratings.hpp>
#include <programs/base/file_error.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

/// \file
/// \brief Tables of ratings as text: what is read from them, and why they are refused.

namespace programs::movielens::test {

using comet::test::TemporaryDirectory;

using Strings = std::vector<std::string>;

/// "user item rating" of each rating, the rating in tenths, in the order in which they are stored.
inline Strings rows_of(const Ratings& ratings) {
  Strings rows;
  for (std::size_t u = 0; u < ratings.user_ids.size(); ++u)
    for (std::size_t r = ratings.offsets[u]; r < ratings.offsets[u + 1]; ++r)
      rows.push_back(ratings.user_ids[u] + " " +
                     ratings.item_ids[static_cast<std::size_t>(ratings.item[r])] + " " +
                     std::to_string(static_cast<int>(10 * ratings.value[r])));
  return rows;
}

inline Strings rows_in(std::string_view content, const TableOptions& options = {}) {
  const TemporaryDirectory directory;
  return rows_of(read_ratings(directory.write("anything", content), options));
}

inline TableOptions columns(Strings names) {
  TableOptions options;
  options.columns = std::move(names);
  return options;
}

inline TableOptions not_rated(std::string value, Strings names = {}) {
  TableOptions options = columns(std::move(names));
  options.not_rated = std::move(value);
  return options;
}

inline TableOptions duplicates(std::string which) {
  TableOptions options;
  options.duplicates = std::move(which);
  return options;
}

/// The message without the name of the file: ":LINE: ..." or ": ...".
inline std::string refusal_of(std::string_view content, const TableOptions& options = {}) {
  const TemporaryDirectory directory;
  const auto file = directory.write("r", content);
  try {
    (void)read_ratings(file, options);
  } catch (const FileError& error) {
    const std::string message = error.what();
    REQUIRE(message.starts_with(file.string()));
    return message.substr(file.string().size());
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

/// The notes without the name of the file.
inline Strings notes_on(std::string_view content, const TableOptions& options = {}) {
  const TemporaryDirectory directory;
  const auto file = directory.write("n", content);
  Strings notes = read_ratings(file, options).notes;
  for (std::string& note : notes) {
    REQUIRE(note.starts_with(file.string()));
    note = note.substr(file.string().size());
  }
  return notes;
}

}  // namespace programs::movielens::test
