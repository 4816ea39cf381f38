// SPDX-License-Identifier: MIT
#include <two_pictures/data/dataset.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>

#include <two_pictures/data/labelled.hpp>

namespace programs::two_pictures {
namespace {

namespace fs = std::filesystem;

constexpr Index validation_is_one_of = 6;
constexpr Index test_is_one_of = 7;

using Numbers = std::vector<std::int32_t>;

/// Pictures of any number of sets, one behind the other, and which of them are for what.
struct Collection {
  Labelled all;
  Numbers train, validation, test;
};

fs::path place_of(const std::string& data) {
  if (!data.empty()) return data;
  const fs::path installed = "/usr/share/datasets/fashion-mnist";
  std::error_code error;
  if (fs::is_directory(installed, error)) return installed;
  throw std::invalid_argument(
      "Fashion-MNIST is not installed (Debian package dataset-fashion-mnist); name a folder: "
      "--data "
      "DIR");
}

/// The numbers of a set that is added, from where it begins.
Numbers append(Collection& to, const fs::path& folder, const Labelled& set) {
  Pictures& all = to.all.pictures;
  if (all.pixels.empty()) {
    all.height = set.pictures.height;
    all.width = set.pictures.width;
  }
  if (all.height != set.pictures.height || all.width != set.pictures.width)
    throw FileError(folder, "has pictures of " + std::to_string(set.pictures.height) + " x " +
                                std::to_string(set.pictures.width) + " pixels beside others of " +
                                std::to_string(all.height) + " x " + std::to_string(all.width));
  Numbers numbers(set.labels.size());
  std::iota(numbers.begin(), numbers.end(), std::int32_t(to.all.size()));
  all.pixels.insert(all.pixels.end(), set.pictures.pixels.begin(), set.pictures.pixels.end());
  to.all.labels.insert(to.all.labels.end(), set.labels.begin(), set.labels.end());
  return numbers;
}

void check_classes(const fs::path& folder, const Labelled& set) {
  const auto [least, most] = std::minmax_element(set.labels.begin(), set.labels.end());
  if (*least == *most)
    throw FileError(folder, "holds pictures of one class only: there is nothing to tell apart");
}

void add_to(Numbers& list, const Numbers& more) {
  list.insert(list.end(), more.begin(), more.end());
}

void add_set(Collection& collection, const fs::path& folder, std::uint8_t first_class,
             comet::RandomKey key) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) throw FileError(folder, "there is no such folder");
  std::optional<Labelled> train = read_labelled(folder, "train-");
  if (!train) train = read_labelled(folder, "");
  if (!train)
    throw FileError(folder,
                    "holds no pictures in the format of MNIST: neither train-images-idx3-ubyte nor "
                    "train-images.idx3-ubyte, nor one of them with .gz");
  check_classes(folder, *train);
  std::optional<Labelled> test = read_labelled(folder, "t10k-");
  for (Labelled* set : {&*train, test ? &*test : nullptr})
    if (set != nullptr)
      for (std::uint8_t& label : set->labels) label = std::uint8_t(label + first_class);

  const auto deal = [&](const Numbers& numbers, Index one_of, int place) {
    return split_by_class(collection.all.labels, numbers, one_of, key.fold(place));
  };
  Numbers left = append(collection, folder, *train);
  if (test) {
    add_to(collection.test, append(collection, folder, *test));
  } else {
    Parts parts = deal(left, test_is_one_of, 0);
    add_to(collection.test, parts.few);
    left = std::move(parts.most);
  }
  const Parts parts = deal(left, validation_is_one_of, 1);
  add_to(collection.train, parts.most);
  add_to(collection.validation, parts.few);
}

}  // namespace

const std::vector<std::string>& forms() {
  static const std::vector<std::string> names = {"two", "one"};
  return names;
}

Dataset read_dataset(const DataOptions& options, comet::RandomKey key) {
  Collection collection;
  const fs::path folder = place_of(options.data);
  Index classes = num_classes;
  add_set(collection, folder, 0, key.fold(0));
  std::string source = source_of(folder);
  if (!options.second_data.empty()) {
    add_set(collection, options.second_data, std::uint8_t(num_classes), key.fold(1));
    source += " and " + source_of(options.second_data);
    classes += num_classes;
  }
  const auto all = std::make_shared<const Labelled>(std::move(collection.all));
  const auto examples = [&](Numbers& numbers, int place) {
    return options.show == "one" ? Examples(all, std::move(numbers), classes)
                                 : Examples::pairs(all, std::move(numbers), classes,
                                                   options.partners, key.fold(place));
  };
  for (const auto& [numbers, what] : {std::pair(&collection.train, "to train on"),
                                      std::pair(&collection.validation, "for validation"),
                                      std::pair(&collection.test, "to test with")})
    if (numbers->empty())
      throw FileError(folder, "has " + std::to_string(all->size()) +
                                  " pictures, too few: none is left " + what);
  Examples train = examples(collection.train, 2);
  Examples validation = examples(collection.validation, 3);
  Examples test = examples(collection.test, 4);
  return {std::move(source), std::move(train), std::move(validation), std::move(test)};
}

std::string fingerprint_of(const Dataset& data) { return data.train.fingerprint(); }

}  // namespace programs::two_pictures
