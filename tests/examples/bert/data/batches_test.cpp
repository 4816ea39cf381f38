// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include <comet/core/random.hpp>

#include <bert/data/batches.hpp>

#include <support/catch.hpp>

using namespace programs::bert;

namespace {

using Numbers = std::vector<std::int32_t>;

/// Sentences of random lengths from 2 to 40.
std::vector<Encoded> sentences_of(int count) {
  const comet::RandomKey key(8);
  std::vector<Encoded> sentences;
  for (int i = 0; i < count; ++i) {
    const auto length = std::size_t(2 + 39 * key.uniform(std::uint64_t(i)));
    sentences.push_back({.ids = std::vector<TokenId>(length, i), .types = Numbers(length, 0)});
  }
  return sentences;
}

void check_all_once(const std::vector<Numbers>& batches, int count) {
  Numbers seen;
  for (const Numbers& batch : batches) seen.insert(seen.end(), batch.begin(), batch.end());
  std::sort(seen.begin(), seen.end());
  REQUIRE(seen.size() == std::size_t(count));
  for (int i = 0; i < count; ++i) CHECK(seen[std::size_t(i)] == i);
}

/// Tokens and padding.
comet::Index places_of(const std::vector<Encoded>& sentences, const std::vector<Numbers>& batches) {
  comet::Index places = 0;
  for (const Numbers& batch : batches) places += gather(sentences, batch, 0).ids.size();
  return places;
}

}  // namespace

TEST_CASE("batches: sentences are padded to the longest", "[bert][data]") {
  const std::vector<Encoded> sentences = {{.ids = {2, 7, 3}, .types = {0, 0, 0}},
                                          {.ids = {9}, .types = {0}},
                                          {.ids = {2, 5, 3, 6, 3}, .types = {0, 0, 0, 1, 1}}};
  const Numbers which = {2, 0};
  const Batch batch = gather(sentences, which, 1);
  TokenMatrix ids(5, 2), types(5, 2), mask(5, 2);
  ids << 2, 2, 5, 7, 3, 3, 6, 1, 3, 1;
  types << 0, 0, 0, 0, 0, 0, 1, 0, 1, 0;
  mask << 1, 1, 1, 1, 1, 1, 1, 0, 1, 0;
  CHECK(batch.ids == ids);
  CHECK(batch.types == types);
  CHECK(batch.mask == mask);
  CHECK(gather(sentences, {}, 1).ids.size() == 0);
}

TEST_CASE("batches: an epoch has every sentence once, in batches of like lengths", "[bert][data]") {
  const std::vector<Encoded> sentences = sentences_of(1000);
  const comet::RandomKey key(1);
  const auto batches = shuffled_batches(sentences, 8, key);
  CHECK(batches.size() == 125);
  check_all_once(batches, 1000);
  CHECK(batches == shuffled_batches(sentences, 8, key));
  CHECK(batches != shuffled_batches(sentences, 8, comet::RandomKey(2)));
  comet::Index tokens = 0;
  for (const Encoded& sentence : sentences) tokens += sentence.size();
  CHECK(double(places_of(sentences, batches)) < 1.1 * double(tokens));
  // Within a batch by length, from batch to batch not.
  for (const Numbers& batch : batches)
    CHECK(std::is_sorted(batch.begin(), batch.end(), [&](auto a, auto b) {
      return sentences[std::size_t(a)].size() < sentences[std::size_t(b)].size();
    }));
  // Runs of 16 batches would grow longer 15 times in 16.
  int longer = 0;
  for (std::size_t b = 1; b < batches.size(); ++b)
    longer += sentences[std::size_t(batches[b][0])].size() >
              sentences[std::size_t(batches[b - 1][0])].size();
  CHECK(longer < 90);
  CHECK(longer > 30);
}

TEST_CASE("batches: what does not divide is in a shorter batch", "[bert][data]") {
  const std::vector<Encoded> sentences = sentences_of(35);
  for (const auto& batches :
       {shuffled_batches(sentences, 16, comet::RandomKey(3)), sorted_batches(sentences, 16)}) {
    check_all_once(batches, 35);
    std::vector<std::size_t> sizes;
    for (const Numbers& batch : batches) sizes.push_back(batch.size());
    std::sort(sizes.begin(), sizes.end());
    CHECK(sizes == std::vector<std::size_t>{3, 16, 16});
  }
  const auto sorted = sorted_batches(sentences, 16);
  CHECK(sentences[std::size_t(sorted[0].back())].size() <=
        sentences[std::size_t(sorted[1].front())].size());
  CHECK(shuffled_batches({}, 16, comet::RandomKey(3)).empty());
}
