// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/io/file_error.hpp>

#include <two_pictures/data/dataset.hpp>

#include <examples/two_pictures/set_files.hpp>
#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using namespace programs::two_pictures;
using namespace comet::test;
using comet::RandomKey;

namespace {

std::set<std::int32_t> pictures_of(const Examples& examples, Index task = 0) {
  std::set<std::int32_t> numbers;
  for (Index i = 0; i < examples.size(); ++i) numbers.insert(examples.picture(task, i));
  return numbers;
}

Index count_of(const Examples& examples, std::int32_t label) {
  Index count = 0;
  for (Index i = 0; i < examples.size(); ++i) count += examples.label(0, i) == label;
  return count;
}

void is_refused(const DataOptions& options, const std::string& message) {
  CHECK_THROWS_WITH(read_dataset(options, RandomKey(1)), message);
}

}  // namespace

TEST_CASE("Examples: two pictures are added on a canvas, the second 8 pixels on",
          "[two_pictures][data]") {
  const auto all = std::make_shared<const Labelled>(Labelled{{12, 10, Bytes(2 * 120)}, {3, 5}});
  auto mutable_all = std::make_shared<Labelled>(*all);
  mutable_all->pictures.pixels[11 * 10 + 9] = 255;  // the last pixel of the first
  mutable_all->pictures.pixels[120 + 3 * 10 + 1] = 51;
  const std::shared_ptr<const Labelled> set = mutable_all;

  const Examples one(set, {1, 0}, 10);
  CHECK(one.num_tasks() == 1);
  CHECK(one.height() == 12);
  std::vector<float> pixels(120, 9.0F);
  one.draw(0, pixels);
  CHECK(pixels[31] == Approx(0.2F));
  CHECK(std::accumulate(pixels.begin(), pixels.end(), 0.0F) == Approx(0.2F));
  CHECK(one.label(0, 0) == 5);

  const Examples two = Examples::pairs(set, {0, 1}, 10, 20, RandomKey(1));
  CHECK(two.num_tasks() == 2);
  CHECK(two.size() == 40);
  CHECK(two.height() == 20);
  CHECK(two.width() == 18);
  for (Index i = 0; i < two.size(); ++i) {
    CHECK(two.picture(0, i) == i % 2);
    pixels.assign(20 * 18, 9.0F);
    two.draw(i, pixels);
    const std::int32_t first = two.picture(0, i), second = two.picture(1, i);
    CHECK(two.label(1, i) == (second == 0 ? 3 : 5));
    std::vector<float> expected(20 * 18, 0.0F);
    expected[11 * 18 + 9] += first == 0 ? 1.0F : 0.0F;
    expected[3 * 18 + 1] += first == 1 ? 0.2F : 0.0F;
    expected[(8 + 11) * 18 + 8 + 9] += second == 0 ? 1.0F : 0.0F;
    expected[(8 + 3) * 18 + 8 + 1] += second == 1 ? 0.2F : 0.0F;
    for (std::size_t p = 0; p < expected.size(); ++p) CHECK(pixels[p] == Approx(expected[p]));
  }
  CHECK(pictures_of(two, 1).size() == 2);
}

TEST_CASE("read_dataset: parts by class, pairs within a part, both spellings",
          "[two_pictures][data]") {
  const TemporaryDirectory directory;
  write_set(directory.path(), "train-", 240, 4);
  write_set(directory.path(), "t10k-", 40, 4);
  std::filesystem::rename(directory.path() / "t10k-images-idx3-ubyte",
                          directory.path() / "t10k-images.idx3-ubyte");
  write_packed(directory.path() / "t10k-labels-idx1-ubyte.gz",
               idx(0x801, {40}, round_of_labels(40, 4)));
  std::filesystem::remove(directory.path() / "t10k-labels-idx1-ubyte");
  const DataOptions options{.data = directory.path().string()};
  const Dataset set = read_dataset(options, RandomKey(1));
  CHECK(set.train.size() == 200);
  CHECK(set.validation.size() == 40);
  CHECK(set.test.size() == 40);
  for (std::int32_t c = 0; c < 4; ++c) {
    CHECK(count_of(set.train, c) == 50);
    CHECK(count_of(set.validation, c) == 10);
  }
  const auto train = pictures_of(set.train), validation = pictures_of(set.validation);
  CHECK(train.size() == 200);
  CHECK(validation.size() == 40);
  for (const std::int32_t picture : validation) CHECK(train.count(picture) == 0);
  for (const std::int32_t picture : pictures_of(set.train, 1)) CHECK(train.count(picture) == 1);
  CHECK(*pictures_of(set.test).begin() == 240);

  const Dataset again = read_dataset(options, RandomKey(1)),
                other = read_dataset(options, RandomKey(2));
  const auto order = [](const Examples& e) {
    std::vector<std::int32_t> numbers;
    for (Index i = 0; i < e.size(); ++i)
      numbers.push_back(1000 * e.picture(0, i) + e.picture(1, i));
    return numbers;
  };
  CHECK(order(again.train) == order(set.train));
  CHECK(order(other.train) != order(set.train));

  DataOptions twice = options;
  twice.partners = 2;
  CHECK(read_dataset(twice, RandomKey(1)).train.size() == 400);
  DataOptions one = options;
  one.show = "one";
  CHECK(read_dataset(one, RandomKey(1)).train.num_tasks() == 1);
}

TEST_CASE("read_dataset: a set without test files, and two sets mixed", "[two_pictures][data]") {
  const TemporaryDirectory directory;
  write_set(directory.path() / "a", "", 70, 2);
  write_set(directory.path() / "b", "train-", 70, 10);
  const DataOptions mixed{.data = (directory.path() / "a").string(),
                          .second_data = (directory.path() / "b").string(),
                          .show = "one"};
  const Dataset set = read_dataset(mixed, RandomKey(1));
  CHECK(set.test.size() == 10 + 10);
  CHECK(set.train.num_classes() == 20);
  std::set<std::int32_t> labels;
  for (Index i = 0; i < set.test.size(); ++i) labels.insert(set.test.label(0, i));
  CHECK(labels == std::set<std::int32_t>{0, 1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19});
}

TEST_CASE("read_dataset: what is wrong with a set is said in one line", "[two_pictures][data]") {
  const TemporaryDirectory directory;
  const auto folder = directory.path() / "set";
  const DataOptions options{.data = folder.string()};
  is_refused(options, folder.string() + ": there is no such folder");
  std::filesystem::create_directories(folder);
  is_refused(options, folder.string() +
                          ": holds no pictures in the format of MNIST: neither "
                          "train-images-idx3-ubyte nor train-images.idx3-ubyte, nor one of them "
                          "with .gz");
  const auto few = folder / "few";
  std::filesystem::create_directory(few);
  write_set(few, "", 8, 4);
  DataOptions of_few = options;
  of_few.data = few.string();
  is_refused(of_few, few.string() + ": has 8 pictures, too few: none is left to train on");
  write_set(folder, "train-", 20, 4);
  const auto labels = folder / "train-labels-idx1-ubyte";
  write(labels, idx(0x801, {19}, round_of_labels(19, 4)));
  is_refused(options, labels.string() + ": has 19 labels for 20 pictures");
  write(labels, idx(0x801, {20}, round_of_labels(20, 12)));
  is_refused(options, labels.string() + ": label 10 is 10, expected 0 to 9");
  write(labels, idx(0x801, {20}, Bytes(20, 3)));
  is_refused(options, folder.string() +
                          ": holds pictures of one class only: there is nothing to tell apart");
  std::filesystem::remove(labels);
  is_refused(options, folder.string() + ": has pictures, but no train-labels-idx1-ubyte");
}
