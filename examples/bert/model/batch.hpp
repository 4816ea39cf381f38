// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include <bert/model/config.hpp>

namespace programs::bert {

/// \brief Sentences of the same length, row by row, with padding where they are shorter.
struct Batch {
  Index rows = 0;
  Index length = 0;                ///< tokens of a row, padding included
  std::vector<std::int64_t> ids;   ///< pieces, rows x length
  std::vector<std::int64_t> types;
  std::vector<std::uint8_t> mask;  ///< 1 for a token, 0 for padding
  std::vector<double> labels;      ///< one for each row, or none

  /// Without padding.
  [[nodiscard]] Index tokens() const;
};

/// \throws std::invalid_argument naming what does not fit a model: its sizes, an id, a label
void check(const Batch& batch, const BertConfig& config);

}  // namespace programs::bert
