// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include <comet/core/index_range.hpp>
#include <comet/core/random.hpp>

#include <movielens/data/two_task.hpp>

namespace programs::movielens {

/// Some rows, gathered.
struct Batch {
  std::span<const std::int32_t> user;
  std::span<const std::int32_t> item;
  std::span<const float> watched;
  std::span<const float> rating;

  [[nodiscard]] std::size_t size() const noexcept { return user.size(); }
  /// Some of them.
  [[nodiscard]] Batch piece(comet::IndexRange rows) const {
    const auto cut = [&](auto all) {
      return all.subspan(std::size_t(rows.first), std::size_t(rows.size()));
    };
    return {cut(user), cut(item), cut(watched), cut(rating)};
  }
};

/// \brief Rows in batches of equal size, the last one shorter if they do not divide.
///
/// In their own order at first. The rows are not copied and must outlive this.
class Batches {
 public:
  Batches(const TwoTaskRows& rows, std::size_t batch_size)
      : rows_(&rows), batch_size_(batch_size), order_(rows.size()) {
    const std::size_t capacity = std::min(batch_size, rows.size());
    gathered_.user.resize(capacity);
    gathered_.item.resize(capacity);
    gathered_.watched.resize(capacity);
    gathered_.rating.resize(capacity);
    std::iota(order_.begin(), order_.end(), 0U);
  }

  /// Puts the rows in the random order of this key, whatever their order was before: an epoch
  /// that is resumed sees the same batches.
  void shuffle(comet::RandomKey epoch_key) {
    std::iota(order_.begin(), order_.end(), 0U);
    epoch_key.shuffle(std::span(order_));
  }

  /// Number of batches.
  [[nodiscard]] std::size_t size() const noexcept {
    return (order_.size() + batch_size_ - 1) / batch_size_;
  }

  /// Batch number b; valid until the next call. Allocates nothing.
  [[nodiscard]] Batch operator[](std::size_t b) {
    const std::size_t first = b * batch_size_;
    const std::size_t count = std::min(batch_size_, order_.size() - first);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t row = order_[first + i];
      gathered_.user[i] = rows_->user[row];
      gathered_.item[i] = rows_->item[row];
      gathered_.watched[i] = rows_->watched[row];
      gathered_.rating[i] = rows_->rating[row];
    }
    return {.user = std::span(gathered_.user).first(count),
            .item = std::span(gathered_.item).first(count),
            .watched = std::span(gathered_.watched).first(count),
            .rating = std::span(gathered_.rating).first(count)};
  }

 private:
  const TwoTaskRows* rows_;
  std::size_t batch_size_;
  std::vector<std::uint32_t> order_;
  TwoTaskRows gathered_;
};

}  // namespace programs::movielens
