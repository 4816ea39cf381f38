// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <movielens/data/id_index.hpp>
#include <movielens/data/rating_table.hpp>
#include <movielens/data/table_options.hpp>

namespace programs::movielens {

struct Row {
  std::int32_t user;
  std::int32_t item;
  float stars;
  std::uint32_t line;
};

/// \brief Reads the rows of a file into ratings with provisional numbers of users and items.
///
/// The first line says what the table is. Header lines further down, as joined files have them, are
/// no rows; if they name the columns in another order, what follows is read by that.
class RowReader {
 public:
  RowReader(const std::filesystem::path& file, const TableOptions& options);

  /// \throws FileError with file, line and reason, std::invalid_argument as RatingTable::of()
  void read();

  std::vector<Row> rows;
  IdIndex users;
  IdIndex items;
  std::vector<std::string> notes;  ///< decisions that may surprise, with file and line

  [[nodiscard]] const RatingTable& table() const noexcept { return table_; }
  /// Of rows that are not rated.
  [[nodiscard]] std::size_t left_out() const noexcept { return left_out_; }

 private:
  using Fields = std::span<const std::string_view>;

  void begin_table(Fields fields);
  void add_row(Fields fields);
  void add_rating(Fields fields);
  void add_user(Fields fields);
  [[nodiscard]] bool take_header(Fields fields);
  [[nodiscard]] bool is_not_rated(std::string_view text, std::optional<float> number) const;
  [[nodiscard]] float stars_in(std::string_view text, std::optional<float> number) const;
  [[noreturn]] void refuse_rating(std::string_view text, std::optional<float> number) const;
  [[noreturn]] void refuse_width(Fields fields) const;
  [[noreturn]] void refuse(const std::string& reason) const;

  const std::filesystem::path& file_;
  const TableOptions& options_;
  std::optional<float> not_rated_;  ///< if that is a number
  RatingTable table_;
  std::vector<std::string> header_;
  std::size_t line_ = 0;
  std::size_t num_users_ = 0;  // of a table with a row per user
  std::size_t left_out_ = 0;
};

}  // namespace programs::movielens
