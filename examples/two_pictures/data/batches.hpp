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
#include <comet/core/types.hpp>

#include <two_pictures/data/examples.hpp>

namespace programs::two_pictures {

/// Some examples, drawn.
struct Batch {
  comet::ConstMatrixView<float> pixels;   ///< height width x B
  std::span<const std::int32_t> labels;   ///< B of the first task, then B of the second
  std::span<const std::int32_t> picture;  ///< B, the first of each: for a gate that looks at ids

  [[nodiscard]] std::size_t size() const noexcept { return picture.size(); }
};

/// \brief Some of them. \param labels  for those of the piece
[[nodiscard]] inline Batch piece(const Batch& whole, comet::IndexRange rows,
                                 std::vector<std::int32_t>& labels) {
  const auto first = std::size_t(rows.first), count = std::size_t(rows.size());
  labels.clear();
  for (std::size_t task = 0; task * whole.size() < whole.labels.size(); ++task) {
    const auto of_task = whole.labels.subspan(task * whole.size() + first, count);
    labels.insert(labels.end(), of_task.begin(), of_task.end());
  }
  return {.pixels = whole.pixels.middleCols(rows.first, rows.size()),
          .labels = labels,
          .picture = whole.picture.subspan(first, count)};
}

/// \brief Examples in batches of equal size, the last one shorter if they do not divide.
///
/// In their own order at first. They are not copied and must outlive this.
class Batches {
 public:
  Batches(const Examples& examples, std::size_t batch_size)
      : examples_(&examples), batch_size_(batch_size), order_(std::size_t(examples.size())) {
    const std::size_t capacity = std::min(batch_size, order_.size());
    pixels_.resize(examples.height() * examples.width(), Index(capacity));
    labels_.resize(capacity * std::size_t(examples.num_tasks()));
    picture_.resize(capacity);
    std::iota(order_.begin(), order_.end(), 0);
  }

  /// Puts them in the random order of this key, whatever their order was before: an epoch that is
  /// resumed sees the same batches.
  void shuffle(comet::RandomKey epoch_key) {
    std::iota(order_.begin(), order_.end(), 0);
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
    const auto tasks = std::size_t(examples_->num_tasks());
    for (std::size_t i = 0; i < count; ++i) {
      const Index example = order_[first + i];
      auto column = pixels_.col(Index(i));
      examples_->draw(example, std::span(column.data(), std::size_t(column.size())));
      for (std::size_t task = 0; task < tasks; ++task)
        labels_[task * count + i] = examples_->label(Index(task), example);
      picture_[i] = examples_->picture(0, example);
    }
    return {.pixels = pixels_.leftCols(Index(count)),
            .labels = std::span(labels_).first(tasks * count),
            .picture = std::span(picture_).first(count)};
  }

 private:
  const Examples* examples_;
  std::size_t batch_size_;
  std::vector<std::int32_t> order_;
  comet::Matrix<float> pixels_;
  std::vector<std::int32_t> labels_;
  std::vector<std::int32_t> picture_;
};

}  // namespace programs::two_pictures
