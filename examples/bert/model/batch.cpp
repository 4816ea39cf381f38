// SPDX-License-Identifier: MIT
#include <bert/model/batch.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include <comet/core/check.hpp>

namespace programs::bert {
namespace {

constexpr const char* of_batch = "LabelledBatch";

void check_ids(const char* name, const TokenMatrix& ids, const LabelledBatch& batch,
               const char* bound, Index end) {
  if (ids.rows() != batch.length() || ids.cols() != batch.size())
    comet::detail::raise(of_batch, std::string(name) + " are not as many as ids");
  for (Index i = 0; i < ids.size(); ++i)
    if (const std::int64_t id = ids.data()[i]; id < 0 || id >= end)
      comet::detail::raise(
          of_batch, "one of the " + std::string(name), id,
          "from 0 to less than " + std::string(bound) + " = " + std::to_string(end));
}

}  // namespace

std::vector<std::int32_t> LabelledBatch::sentence_of_tokens() const {
  std::vector<std::int32_t> numbers;
  numbers.reserve(std::size_t(size() * length()));
  for (Index row = 0; row < size(); ++row)
    numbers.insert(numbers.end(), std::size_t(length()), std::int32_t(row));
  return numbers;
}

void check(const LabelledBatch& batch, const BertConfig& config) {
  comet::detail::check_at_least(of_batch, "size()", batch.size(), 1);
  comet::detail::check_at_least(of_batch, "length()", batch.length(), 1);
  comet::detail::check_at_most(of_batch, "length()", batch.length(), "max_position_embeddings",
                               config.positions);
  check_ids("ids", batch.sentences.ids, batch, "vocab_size", config.vocab);
  check_ids("types", batch.sentences.types, batch, "type_vocab_size", config.types);
  check_ids("mask", batch.sentences.mask, batch, "true", 2);
  for (Index i = 0; i < batch.size(); ++i)
    if (batch.sentences.mask(0, i) == 0)
      comet::detail::raise(of_batch, "sentence " + std::to_string(i) + " begins with padding");
  if (batch.labels.empty()) return;
  comet::detail::check_equal(of_batch, "labels.size()", Index(batch.labels.size()), "size()",
                             batch.size());
  const auto last = double(config.labels - 1);
  for (const double label : batch.labels) {
    if (config.labels == 1 && !std::isfinite(label))
      comet::detail::raise(of_batch, "a label", label, "a finite number");
    if (config.labels > 1 && !(label >= 0 && label <= last && label == std::floor(label)))
      comet::detail::raise(of_batch, "a label", label,
                           "a whole number from 0 to " + std::to_string(config.labels - 1));
  }
}

}  // namespace programs::bert
