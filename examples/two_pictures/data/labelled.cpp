// SPDX-License-Identifier: MIT
#include <two_pictures/data/labelled.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <system_error>
#include <utility>

#include <programs/base/file_error.hpp>

namespace programs::two_pictures {
namespace {

namespace fs = std::filesystem;

/// Both spellings that are about, and packed.
fs::path find(const fs::path& folder, const std::string& name, const std::string& format) {
  for (const char* const hyphen : {"-", "."})
    for (const char* const ending : {"", ".gz"}) {
      fs::path file = folder / (name + hyphen + format + ending);
      std::error_code error;
      if (fs::exists(file, error)) return file;
    }
  return {};
}

void check(const fs::path& file, const Labelled& set) {
  if (set.size() != set.pictures.size())
    throw FileError(file, "has " + std::to_string(set.size()) + " labels for " +
                              std::to_string(set.pictures.size()) + " pictures");
  for (std::size_t i = 0; i < set.labels.size(); ++i)
    if (set.labels[i] >= num_classes)
      throw FileError(file, "label " + std::to_string(i) + " is " + std::to_string(set.labels[i]) +
                                ", expected 0 to " + std::to_string(num_classes - 1));
}

}  // namespace

std::vector<fs::path> files_of(const fs::path& folder, const std::string& prefix) {
  std::vector<fs::path> files;
  for (fs::path file : {find(folder, prefix + "images", "idx3-ubyte"),
                        find(folder, prefix + "labels", "idx1-ubyte")})
    if (!file.empty()) files.push_back(std::move(file));
  return files;
}

std::optional<Labelled> read_labelled(const fs::path& folder, const std::string& prefix) {
  const std::string pictures_name = prefix + "images";
  const std::string labels_name = prefix + "labels";
  const fs::path pictures = find(folder, pictures_name, "idx3-ubyte");
  const fs::path labels = find(folder, labels_name, "idx1-ubyte");
  if (pictures.empty() && labels.empty()) return std::nullopt;
  if (pictures.empty())
    throw FileError(folder, "has labels, but no " + pictures_name + "-idx3-ubyte");
  if (labels.empty())
    throw FileError(folder, "has pictures, but no " + labels_name + "-idx1-ubyte");
  Labelled set{read_pictures(pictures), read_labels(labels)};
  check(labels, set);
  return set;
}

Parts split_by_class(std::span<const std::uint8_t> labels, std::span<const std::int32_t> pictures,
                     Index one_of, comet::RandomKey key) {
  std::array<std::vector<std::int32_t>, 256> by_class;
  for (const std::int32_t picture : pictures)
    by_class[labels[std::size_t(picture)]].push_back(picture);
  Parts parts;
  for (std::size_t c = 0; c < by_class.size(); ++c) {
    std::vector<std::int32_t>& members = by_class[c];
    if (members.empty()) continue;
    key.fold(c).shuffle(std::span(members));
    const auto few = std::max(std::size_t{1}, members.size() / std::size_t(one_of));
    parts.few.insert(parts.few.end(), members.begin(), members.begin() + std::ptrdiff_t(few));
    parts.most.insert(parts.most.end(), members.begin() + std::ptrdiff_t(few), members.end());
  }
  // Not one class after the other: a batch of the first ones should look like all.
  key.fold(by_class.size()).shuffle(std::span(parts.most));
  key.fold(by_class.size() + 1).shuffle(std::span(parts.few));
  return parts;
}

}  // namespace programs::two_pictures
