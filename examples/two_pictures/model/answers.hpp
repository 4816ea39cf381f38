// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <comet/core/types.hpp>
#include <comet/metrics/calibration.hpp>

namespace programs::two_pictures {

using comet::Index;

/// \brief What a classifier said of many samples, and what was true.
class Answers {
 public:
  explicit Answers(Index classes)
      : confusion_(std::size_t(classes), std::vector<std::int64_t>(std::size_t(classes), 0)) {}

  /// \param logits  classes x B \param truth  B
  void add(const comet::ConstMatrixView<float>& logits, std::span<const std::int32_t> truth);

  /// How many were right.
  [[nodiscard]] std::int64_t num_right() const noexcept { return right_; }
  [[nodiscard]] double accuracy() const { return double(right_) / double(is_right_.size()); }
  /// Share of samples whose class is the likeliest or the second.
  [[nodiscard]] double top2_accuracy() const {
    return double(right_of_two_) / double(is_right_.size());
  }
  /// Samples by class, then by answer.
  [[nodiscard]] const std::vector<std::vector<std::int64_t>>& confusion() const {
    return confusion_;
  }

  /// By the probability of the answer, in ten parts: how sure the answers were, and how often
  /// right.
  [[nodiscard]] std::vector<comet::CalibrationBin> calibration() const {
    return comet::calibration(std::span<const double>(certainty_),
                              std::span<const std::uint8_t>(is_right_));
  }

 private:
  std::int64_t right_ = 0, right_of_two_ = 0;
  std::vector<std::vector<std::int64_t>> confusion_;
  std::vector<double> certainty_;       // per sample, of the answer
  std::vector<std::uint8_t> is_right_;  // per sample
};

}  // namespace programs::two_pictures
