// SPDX-License-Identifier: MIT
#include <two_pictures/data/examples.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>

#include <programs/base/fingerprint.hpp>

namespace programs::two_pictures {

Examples::Examples(std::shared_ptr<const Labelled> all, std::vector<std::int32_t> pictures,
                   Index classes)
    : all_(std::move(all)), first_(std::move(pictures)), classes_(classes) {}

Examples Examples::pairs(std::shared_ptr<const Labelled> all, std::vector<std::int32_t> pictures,
                         Index classes, Index partners, comet::RandomKey key) {
  Examples examples(std::move(all), {}, classes);
  const std::size_t size = pictures.size();
  for (std::size_t i = 0; i < size * std::size_t(partners); ++i) {
    examples.first_.push_back(pictures[i % size]);
    examples.second_.push_back(pictures[std::size_t(key.index(i, size))]);
  }
  return examples;
}

void Examples::draw(Index example, std::span<float> out) const {
  std::fill(out.begin(), out.end(), 0.0F);
  add(picture(0, example), 0, out);
  if (num_tasks() == 2) add(picture(1, example), pair_offset, out);
}

void Examples::add(std::int32_t picture, Index shift, std::span<float> out) const {
  constexpr float brightest = 255;
  const auto pixels = all_->pictures[picture];
  const Index columns = all_->pictures.width;
  for (Index row = 0; row < all_->pictures.height; ++row) {
    float* const line = out.data() + (row + shift) * width() + shift;
    const std::uint8_t* const from = pixels.data() + row * columns;
    for (Index column = 0; column < columns; ++column)
      line[column] += float(from[column]) / brightest;
  }
}

std::string Examples::fingerprint() const {
  return Fingerprint()
      .add(std::span<const std::uint8_t>(all_->pictures.pixels))
      .add(std::span<const std::uint8_t>(all_->labels))
      .text();
}

}  // namespace programs::two_pictures
