// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

#include <two_pictures/data/labelled.hpp>

namespace programs::two_pictures {

/// How far the second picture of a pair lies below and to the right of the first.
inline constexpr Index pair_offset = 8;

/// \brief What a model is shown: a picture alone, or two of them on one canvas, where the task is
/// to tell the class of each. An example knows its pictures by number; its pixels are made when
/// asked.
///
/// Two pictures of 28 x 28 lie on a canvas of 36 x 36, the first at the top left, the second 8
/// pixels further down and right; where both are, their pixels are added (Ibrahim et al., KDD 2023,
/// supplement, after Sabour et al., NeurIPS 2017).
class Examples {
 public:
  /// \brief Every picture once, alone. \param classes  of the labels
  Examples(std::shared_ptr<const Labelled> all, std::vector<std::int32_t> pictures, Index classes);
  /// \brief Every picture `partners` times at the top left, each time with one at random of the
  /// same pictures.
  [[nodiscard]] static Examples pairs(std::shared_ptr<const Labelled> all,
                                      std::vector<std::int32_t> pictures, Index classes,
                                      Index partners, comet::RandomKey key);

  [[nodiscard]] Index size() const { return Index(first_.size()); }
  /// Of the canvas.
  [[nodiscard]] Index height() const { return all_->pictures.height + offset(); }
  [[nodiscard]] Index width() const { return all_->pictures.width + offset(); }
  [[nodiscard]] Index num_tasks() const { return second_.empty() ? 1 : 2; }
  [[nodiscard]] Index num_classes() const { return classes_; }
  /// Of the pictures of all parts and their classes.
  [[nodiscard]] std::string fingerprint() const;
  /// Of all parts: what picture() is below.
  [[nodiscard]] Index num_pictures() const { return all_->size(); }

  /// \brief The pixels of an example, row by row, from 0 to 1, and to 2 where two overlap.
  /// \param out  height() * width(), overwritten
  void draw(Index example, std::span<float> out) const;

  /// The class of the first picture, task 0, or of the second.
  [[nodiscard]] std::int32_t label(Index task, Index example) const {
    return all_->labels[std::size_t(picture(task, example))];
  }
  /// Its number among all pictures.
  [[nodiscard]] std::int32_t picture(Index task, Index example) const {
    return (task == 0 ? first_ : second_)[std::size_t(example)];
  }

 private:
  [[nodiscard]] Index offset() const { return second_.empty() ? 0 : pair_offset; }
  void add(std::int32_t picture, Index shift, std::span<float> out) const;

  std::shared_ptr<const Labelled> all_;
  std::vector<std::int32_t> first_;
  std::vector<std::int32_t> second_;  // empty if there is one picture only
  Index classes_;
};

}  // namespace programs::two_pictures
