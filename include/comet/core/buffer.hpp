// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <comet/core/types.hpp>

namespace comet {

/// \brief Numbers whose memory is aligned as Eigen's own.
///
/// Eigen takes the elements before the first aligned one by another path, whose last bit can
/// differ: memory from malloc, aligned to 16 bytes only, would tie results to where it happens to
/// lie.
template <class S>
using AlignedVector = std::vector<S, Eigen::aligned_allocator<S>>;

/// \brief Scratch that is shaped anew for every batch and only ever grows.
///
/// Eigen's resize() allocates whenever the size changes, even to a smaller one; a batch's number
/// of active pairs changes every step. So a buffer that grows gets a quarter more than it needs,
/// the first time excepted: many are shaped once. Contents are unspecified after shape().
template <class S>
class Buffer {
 public:
  /// \brief A matrix of this size, whose values are whatever was there.
  /// \param reserved  numbers to make room for if memory is taken: none is touched beyond the size
  Eigen::Map<Matrix<S>> shape(Index rows, Index cols, Index reserved = 0) {
    rows_ = rows;
    cols_ = cols;
    const auto size = std::size_t(rows * cols);
    if (storage_.capacity() < size) {
      const std::size_t spare = storage_.empty() ? 0 : size / 4;
      storage_ = {};  // what is there need not be copied, nor be there twice
      storage_.reserve(std::max(size + spare, std::size_t(reserved)));
    }
    if (storage_.size() < size) storage_.resize(size);
    return matrix();
  }

  /// As shaped last.
  [[nodiscard]] Eigen::Map<Matrix<S>> matrix() { return {storage_.data(), rows_, cols_}; }
  /// As shaped last.
  [[nodiscard]] Eigen::Map<const Matrix<S>> matrix() const {
    return {storage_.data(), rows_, cols_};
  }

 private:
  AlignedVector<S> storage_;
  Index rows_ = 0;
  Index cols_ = 0;
};

}  // namespace comet
