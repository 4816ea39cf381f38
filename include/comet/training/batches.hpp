// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// What becomes of the rows that do not fill a last batch.
enum class LastBatch { keep, drop };

/// \brief The rows of a table in random order, batch by batch: an epoch.
///
/// \code
///   for (const std::span<const Index> batch : Batches(num_rows, 512, key.fold(epoch)))
///     for (const Index row : batch) ...
/// \endcode
///
/// The order is a function of the key: the same key gives the same batches on every machine.
/// \par Cost     allocates once for an epoch, nothing for a batch
class Batches {
 public:
  /// One batch after the other.
  class Iterator {
   public:
    using value_type = std::span<const Index>;          ///< Row numbers of a batch.
    using difference_type = std::ptrdiff_t;             ///< Of places.
    using iterator_category = std::input_iterator_tag;  ///< Its values are views.

    Iterator() = default;
    /// The row numbers.
    [[nodiscard]] value_type operator*() const { return (*batches_)[number_]; }
    /// To the next.
    Iterator& operator++() {
      ++number_;
      return *this;
    }
    /// To the next.
    Iterator operator++(int) { return {batches_, number_++}; }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    friend class Batches;
    Iterator(const Batches* batches, Index number) : batches_(batches), number_(number) {}
    const Batches* batches_ = nullptr;
    Index number_ = 0;
  };

  /// \brief Of the rows 0..num_rows-1.
  /// \param batch_size  >= 1
  /// \throws std::invalid_argument if num_rows < 0 or batch_size < 1
  Batches(Index num_rows, Index batch_size, RandomKey key, LastBatch last = LastBatch::keep)
      : Batches(numbers(num_rows), batch_size, last, key) {}
  /// \brief Of these rows, those of the training part for example.
  Batches(std::span<const Index> rows, Index batch_size, RandomKey key,
          LastBatch last = LastBatch::keep)
      : Batches(std::vector<Index>(rows.begin(), rows.end()), batch_size, last, key) {}

  /// Number of batches.
  [[nodiscard]] Index size() const noexcept { return size_; }
  /// \brief Row numbers of the i-th batch.
  /// \throws std::invalid_argument unless 0 <= i < size()
  [[nodiscard]] std::span<const Index> operator[](Index i) const {
    detail::check_index("Batches::operator[]", "i", i, "size()", size_);
    const Index first = i * batch_size_;
    return std::span(rows_).subspan(
        std::size_t(first), std::size_t(std::min(batch_size_, Index(rows_.size()) - first)));
  }
  /// The first batch.
  [[nodiscard]] Iterator begin() const noexcept { return {this, 0}; }
  /// Behind the last batch.
  [[nodiscard]] Iterator end() const noexcept { return {this, size_}; }

 private:
  Batches(std::vector<Index> rows, Index batch_size, LastBatch last, RandomKey key)
      : rows_(std::move(rows)), batch_size_(batch_size) {
    detail::check_at_least("Batches", "batch_size", batch_size, 1);
    key.shuffle(std::span(rows_));
    size_ = Index(rows_.size()) / batch_size;
    if (last == LastBatch::keep && size_ * batch_size < Index(rows_.size())) ++size_;
  }

  static std::vector<Index> numbers(Index num_rows) {
    detail::check_at_least("Batches", "num_rows", num_rows, 0);
    std::vector<Index> rows(static_cast<std::size_t>(num_rows));
    std::iota(rows.begin(), rows.end(), Index(0));
    return rows;
  }

  std::vector<Index> rows_;  // in random order
  Index batch_size_;
  Index size_ = 0;
};

}  // namespace comet
