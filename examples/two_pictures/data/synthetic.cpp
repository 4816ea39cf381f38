// SPDX-License-Identifier: MIT
#include <two_pictures/data/synthetic.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>

namespace programs::two_pictures {
namespace {

constexpr Index side = 28;

/// A bar from one point to another; the digit is 1 wide and 2 high.
struct Bar {
  double x0, y0, x1, y1;
};
constexpr std::array<Bar, 7> bars = {{{0, 0, 1, 0},
                                      {1, 0, 1, 1},
                                      {1, 1, 1, 2},
                                      {0, 2, 1, 2},
                                      {0, 1, 0, 2},
                                      {0, 0, 0, 1},
                                      {0, 1, 1, 1}}};
/// Bars of each digit, a bit each.
constexpr std::array<unsigned, 10> digits = {0x3f, 0x06, 0x5b, 0x4f, 0x66,
                                             0x6d, 0x7d, 0x07, 0x7f, 0x6f};

double distance(const Bar& bar, double x, double y) {
  const double dx = bar.x1 - bar.x0, dy = bar.y1 - bar.y0;
  const double along =
      std::clamp(((x - bar.x0) * dx + (y - bar.y0) * dy) / (dx * dx + dy * dy), 0.0, 1.0);
  return std::hypot(x - bar.x0 - along * dx, y - bar.y0 - along * dy);
}

void draw(unsigned digit, comet::RandomKey key, std::uint8_t* pixels) {
  std::uint64_t drawn = 0;
  const auto uniform = [&](double low, double high) { return key.uniform(drawn++, low, high); };
  const double scale = uniform(5, 10), left = uniform(4, 20 - scale),
               top = uniform(3, 24 - 2 * scale);
  const double slant = uniform(-0.3, 0.3), thickness = uniform(0.15, 0.35);
  std::array<double, 7> brightness = {};
  for (double& b : brightness) b = uniform(0, 1) < 0.15 ? 0.2 : uniform(0.6, 1);
  for (Index row = 0; row < side; ++row)
    for (Index column = 0; column < side; ++column) {
      const double y = (double(row) - top) / scale;
      const double x = (double(column) - left) / scale - slant * (1 - y);
      double light = uniform(0, 0.15);
      for (std::size_t i = 0; i < bars.size(); ++i)
        if ((digits[digit] >> i & 1U) != 0 && distance(bars[i], x, y) < thickness)
          light = std::max(light, brightness[i]);
      pixels[row * side + column] = std::uint8_t(255 * light);
    }
}

/// An idx file of bytes.
std::string idx(char dimensions, std::initializer_list<std::int64_t> sizes,
                const std::vector<std::uint8_t>& content) {
  std::string bytes = {0, 0, 8, dimensions};
  for (const std::int64_t size : sizes)
    for (const int shift : {24, 16, 8, 0}) bytes += char(std::uint8_t(size >> shift));
  bytes.append(content.begin(), content.end());
  return bytes;
}

void refuse_existing(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> existing = files_of(folder, "train-");
  for (const auto& file : files_of(folder, "t10k-")) existing.push_back(file);
  if (std::filesystem::exists(folder / "SOURCE")) existing.push_back(folder / "SOURCE");
  if (!existing.empty()) throw FileError(existing.front(), "exists already and is not replaced");
}

}  // namespace

Labelled make_synthetic_pictures(std::int64_t count, comet::RandomKey key) {
  Labelled set;
  set.pictures.height = set.pictures.width = side;
  set.pictures.pixels.resize(std::size_t(count * side * side));
  for (std::int64_t i = 0; i < count; ++i) {
    const comet::RandomKey own = key.fold(std::uint64_t(i));
    set.labels.push_back(std::uint8_t(i % num_classes));
    draw(set.labels.back(), own, set.pictures.pixels.data() + i * side * side);
  }
  return set;
}

void write_synthetic(const std::filesystem::path& folder, const Labelled& train,
                     const Labelled& test, const std::string& source) {
  refuse_existing(folder);
  make_directories(folder);
  // SOURCE first: at no moment are there made-up pictures without the note that says so.
  write_atomically(folder / "SOURCE", source + "\n");
  const auto write = [&](const std::string& prefix, const Labelled& set) {
    const Pictures& pictures = set.pictures;
    write_atomically(folder / (prefix + "images-idx3-ubyte"),
                     idx(3, {set.size(), pictures.height, pictures.width}, pictures.pixels));
    write_atomically(folder / (prefix + "labels-idx1-ubyte"), idx(1, {set.size()}, set.labels));
  };
  write("train-", train);
  write("t10k-", test);
}

}  // namespace programs::two_pictures
