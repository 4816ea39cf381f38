// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

#include <bert/data/tokenizer.hpp>

namespace programs::bert {

/// One sentence per column, the memory of a C-order tensor [sentences, tokens].
using TokenMatrix = comet::Matrix<std::int64_t>;

/// \brief Sentences of one length: shorter ones are padded at their end. All matrices are
/// tokens x sentences.
struct Batch {
  TokenMatrix ids;    ///< padding is [PAD]
  TokenMatrix types;  ///< 0 or 1, padding is 0
  TokenMatrix mask;   ///< 1 for a token, 0 for padding
};

/// \brief Gathers some sentences, padded to the longest of them.
/// \param which    their numbers
/// \param padding  vocabulary().padding()
[[nodiscard]] Batch gather(std::span<const Encoded> sentences, std::span<const std::int32_t> which,
                           TokenId padding);

/// \brief An epoch: all sentences once, in batches of about the same length each.
///
/// A random order is cut into runs of 16 batches; each run is sorted by length and cut into
/// batches; the batches of all runs come in a random order. The last run may have a shorter batch.
[[nodiscard]] std::vector<std::vector<std::int32_t>> shuffled_batches(
    std::span<const Encoded> sentences, Index batch_size, comet::RandomKey key);

/// All sentences once, sorted by length: for evaluation.
[[nodiscard]] std::vector<std::vector<std::int32_t>> sorted_batches(
    std::span<const Encoded> sentences, Index batch_size);

}  // namespace programs::bert
