// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
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
  /// The number of its sentence, for each token.
  [[nodiscard]] std::vector<std::int32_t> sentence_of_tokens() const;
};

/// \throws std::invalid_argument naming what does not fit a model: a length, an id, a label
void check(const LabelledBatch& batch, const BertConfig& config);

}  // namespace programs::bert
