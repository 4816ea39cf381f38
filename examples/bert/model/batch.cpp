// SPDX-License-Identifier: MIT
#include <bert/model/batch.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include <comet/core/check.hpp>

namespace programs::bert {

Index Batch::tokens() const {
  return Index(std::count_if(mask.begin(), mask.end(), [](auto m) { return m != 0; }));
}

void check(const Batch& batch, const BertConfig& config) {
  namespace detail = comet::detail;
  constexpr const char* where = "Batch";
  detail::check_at_least(where, "rows", batch.rows, 1);
  detail::check_at_least(where, "length", batch.length, 1);
  detail::check_at_most(where, "length", batch.length, "max_position_embeddings",
                        config.positions);
  const Index size = batch.rows * batch.length;
  detail::check_equal(where, "ids.size()", Index(batch.ids.size()), "rows * length", size);
  detail::check_equal(where, "types.size()", Index(batch.types.size()), "rows * length", size);
  detail::check_equal(where, "mask.size()", Index(batch.mask.size()), "rows * length", size);
  const auto check_ids = [&](const char* name, const std::vector<std::int64_t>& ids,
                             const char* bound, Index end) {
    for (const std::int64_t id : ids)
      if (id < 0 || id >= end)
        detail::raise(where, name, id,
                      "from 0 to less than " + std::string(bound) + " = " + std::to_string(end));
  };
  check_ids("an id", batch.ids, "vocab_size", config.vocab);
  check_ids("a type", batch.types, "type_vocab_size", config.types);
  for (Index row = 0; row < batch.rows; ++row)
    if (batch.mask[std::size_t(row * batch.length)] == 0)
      detail::raise(where, "row " + std::to_string(row) + " begins with padding");
  if (batch.labels.empty()) return;
  detail::check_equal(where, "labels.size()", Index(batch.labels.size()), "rows", batch.rows);
  for (const double label : batch.labels)
    if (!std::isfinite(label) ||
        (config.labels > 1 &&
         (label < 0 || label >= double(config.labels) || label != std::floor(label))))
      detail::raise(where, "a label", label,
                    config.labels > 1
                        ? "a whole number from 0 to less than " + std::to_string(config.labels)
                        : "a finite number");
}

}  // namespace programs::bert
