// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <bert/data/batches.hpp>
#include <bert/model/config.hpp>

namespace programs::bert {

/// \brief Sentences, and what is to be said of them.
struct LabelledBatch {
  Batch sentences;
  std::vector<double> labels;  ///< one for each, or none

  [[nodiscard]] Index size() const noexcept { return sentences.ids.cols(); }
  /// Tokens of each sentence, padding included.
  [[nodiscard]] Index length() const noexcept { return sentences.ids.rows(); }
  /// Of all of them, without padding.
  [[nodiscard]] Index tokens() const { return Index(sentences.mask.sum()); }
};

/// \throws std::invalid_argument naming what does not fit a model: a length, an id, a label
void check(const LabelledBatch& batch, const BertConfig& config);

}  // namespace programs::bert
