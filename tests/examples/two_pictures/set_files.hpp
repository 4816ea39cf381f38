// SPDX-License-Identifier: MIT
#pragma once

#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <support/catch.hpp>

/// \file
/// \brief Files of pictures and labels as a test wants them.

namespace comet::test {

using Bytes = std::vector<std::uint8_t>;

/// The bytes of an idx file: a magic number, sizes, content.
inline Bytes idx(std::uint32_t magic, const std::vector<std::uint32_t>& sizes,
                 const Bytes& content) {
  Bytes bytes;
  const auto put = [&](std::uint32_t value) {
    for (unsigned shift : {24U, 16U, 8U, 0U}) bytes.push_back(std::uint8_t(value >> shift));
  };
  put(magic);
  for (const std::uint32_t size : sizes) put(size);
  bytes.insert(bytes.end(), content.begin(), content.end());
  return bytes;
}

inline void write(const std::filesystem::path& file, const Bytes& bytes) {
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
}

inline void write_packed(const std::filesystem::path& file, const Bytes& bytes) {
  const gzFile stream = gzopen(file.c_str(), "wb");
  REQUIRE(gzwrite(stream, bytes.data(), unsigned(bytes.size())) == int(bytes.size()));
  REQUIRE(gzclose(stream) == Z_OK);
}

/// Labels 0, 1, .., classes - 1, 0, 1, ..
inline Bytes round_of_labels(std::uint32_t count, std::uint32_t classes) {
  Bytes labels;
  for (std::uint32_t i = 0; i < count; ++i) labels.push_back(std::uint8_t(i % classes));
  return labels;
}

/// Pictures of 4 x 3 pixels whose pixels say which one it is.
inline Bytes numbered_pictures(std::uint32_t count) {
  Bytes pixels;
  for (std::uint32_t i = 0; i < count; ++i)
    for (std::uint32_t p = 0; p < 12; ++p) pixels.push_back(std::uint8_t(i + 10 * p));
  return pixels;
}

/// Both files of a set, like `prefix` = "train-".
inline void write_set(const std::filesystem::path& folder, const std::string& prefix,
                      std::uint32_t count, std::uint32_t classes) {
  std::filesystem::create_directories(folder);
  write(folder / (prefix + "images-idx3-ubyte"),
        idx(0x803, {count, 4, 3}, numbered_pictures(count)));
  write(folder / (prefix + "labels-idx1-ubyte"),
        idx(0x801, {count}, round_of_labels(count, classes)));
}

}  // namespace comet::test
