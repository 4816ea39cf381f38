// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <comet/core/types.hpp>

namespace programs::two_pictures {

using comet::Index;

/// \brief What a classifier said of many samples, and what was true.
class Answers {
 public:
  explicit Answers(Index classes)
      : confusion_(std::size_t(classes), std::vector<std::int64_t>(std::size_t(classes), 0)) {}

  /// \param logits  classes x B \param truth  B
  void add(const comet::ConstMatrixView<float>& logits, std::span<const std::int32_t> truth);

  [[nodiscard]] double accuracy() const { return double(right_) / double(samples_); }
  /// Share of samples whose class is the likeliest or the second.
  [[nodiscard]] double top2_accuracy() const { return double(right_of_two_) / double(samples_); }
  /// Samples by class, then by answer.
  [[nodiscard]] const std::vector<std::vector<std::int64_t>>& confusion() const {
    return confusion_;
  }

  /// Answers of like certainty: the share of them that was expected to be right, and that was.
  struct Bin {
    std::int64_t samples = 0;
    double certainty = 0;  ///< mean probability of the answer
    double accuracy = 0;
  };
  /// By the probability of the answer, in tenths; none that are empty.
  [[nodiscard]] std::vector<Bin> calibration() const;
  /// \brief Mean distance of certainty and accuracy over the bins, weighted by their samples (Guo
  /// et al., ICML 2017, Eq. (3)).
  [[nodiscard]] double calibration_error() const;

 private:
  struct Tenth {
    std::int64_t samples = 0, right = 0;
    double certainty = 0;  // sum
  };

  std::int64_t samples_ = 0, right_ = 0, right_of_two_ = 0;
  std::vector<std::vector<std::int64_t>> confusion_;
  std::array<Tenth, 10> tenths_ = {};
};

}  // namespace programs::two_pictures
