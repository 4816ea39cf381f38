// SPDX-License-Identifier: MIT
#include <bert/data/batches.hpp>

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace programs::bert {
namespace {

using Numbers = std::vector<std::int32_t>;

constexpr std::size_t batches_of_run = 16;

Numbers all_of(std::span<const Encoded> sentences) {
  Numbers all(sentences.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

/// Of equal ones the first stays the first.
void sort_by_length(std::span<std::int32_t> which, std::span<const Encoded> sentences) {
  const auto length = [&](std::int32_t i) { return sentences[std::size_t(i)].size(); };
  std::stable_sort(which.begin(), which.end(),
                   [&](std::int32_t a, std::int32_t b) { return length(a) < length(b); });
}

std::vector<Numbers> cut_into(std::size_t size, std::span<const std::int32_t> all) {
  std::vector<Numbers> parts;
  for (std::size_t begin = 0; begin < all.size(); begin += size) {
    const auto part = all.subspan(begin, std::min(size, all.size() - begin));
    parts.emplace_back(part.begin(), part.end());
  }
  return parts;
}

}  // namespace

Batch gather(std::span<const Encoded> sentences, std::span<const std::int32_t> which,
             TokenId padding) {
  Index length = 0;
  for (const std::int32_t i : which) length = std::max(length, sentences[std::size_t(i)].size());
  const auto count = Index(which.size());
  Batch batch{.ids = TokenMatrix::Constant(length, count, padding),
              .types = TokenMatrix::Zero(length, count),
              .mask = TokenMatrix::Zero(length, count)};
  for (Index b = 0; b < count; ++b) {
    const Encoded& sentence = sentences[std::size_t(which[std::size_t(b)])];
    for (Index t = 0; t < sentence.size(); ++t) {
      batch.ids(t, b) = sentence.ids[std::size_t(t)];
      batch.types(t, b) = sentence.types[std::size_t(t)];
      batch.mask(t, b) = 1;
    }
  }
  return batch;
}

std::vector<Numbers> shuffled_batches(std::span<const Encoded> sentences, Index batch_size,
                                      comet::RandomKey key) {
  Numbers all = all_of(sentences);
  key.fold(0).shuffle(std::span(all));
  std::vector<Numbers> batches;
  for (Numbers& run : cut_into(batches_of_run * std::size_t(batch_size), all)) {
    sort_by_length(run, sentences);
    for (Numbers& batch : cut_into(std::size_t(batch_size), run))
      batches.push_back(std::move(batch));
  }
  key.fold(1).shuffle(std::span(batches));
  return batches;
}

std::vector<Numbers> sorted_batches(std::span<const Encoded> sentences, Index batch_size) {
  Numbers all = all_of(sentences);
  sort_by_length(all, sentences);
  return cut_into(std::size_t(batch_size), all);
}

}  // namespace programs::bert
