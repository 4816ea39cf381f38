// SPDX-License-Identifier: MIT
#include <algorithm>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/io/file_error.hpp>

#include <bert/data/synthetic.hpp>
#include <bert/data/tasks.hpp>
#include <programs/base/files.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using namespace programs::bert;
using comet::test::TemporaryDirectory;

TEST_CASE("synthetic sentences: half are faulty, none is there twice, all follow from the seed",
          "[bert][data]") {
  const comet::RandomKey key(1);
  const std::vector<Example> examples = make_synthetic_sentences(20'000, key);
  REQUIRE(examples.size() == 20'000);
  std::set<std::string> seen;
  double right = 0;
  for (const Example& example : examples) {
    CHECK(seen.insert(example.first).second);
    right += example.label;
  }
  CHECK(right == 10'000);
  const auto first_of = [](const std::vector<Example>& all) { return all.front().first; };
  CHECK(first_of(make_synthetic_sentences(100, key)) ==
        first_of(make_synthetic_sentences(100, key)));
  CHECK(first_of(make_synthetic_sentences(100, key)) !=
        first_of(make_synthetic_sentences(100, comet::RandomKey(2))));
}

TEST_CASE("synthetic sentences: what makes them right or not", "[bert][data]") {
  const auto examples = make_synthetic_sentences(10'000, comet::RandomKey(3));
  int numbers = 0, orders = 0;
  for (const Example& example : examples) {
    CAPTURE(example.first);
    CHECK(example.first.ends_with('.'));
    const auto begins = [&](const char* text) { return example.first.starts_with(text); };
    const bool of_two_numbers = begins("These dog ") || begins("Every dogs ");
    if (!of_two_numbers && !begins("Dog") && !begins("Girl")) continue;
    CHECK(example.label == 0);
    (of_two_numbers ? numbers : orders) += 1;
  }
  CHECK(numbers > 0);
  CHECK(orders > 0);
}

TEST_CASE("synthetic sentences: written and read again, and named as made up", "[bert][data]") {
  const TemporaryDirectory directory;
  const auto examples = make_synthetic_sentences(30, comet::RandomKey(1));
  const std::span<const Example> all(examples);
  const auto folder = directory.path() / "made";
  write_synthetic(folder, all.first(20), all.subspan(20), "synthetic, seed 1");
  const Task& task = task_named("CoLA");
  const auto train = read_split(task, folder, "train"), dev = read_split(task, folder, "dev");
  REQUIRE(train.size() == 20);
  REQUIRE(dev.size() == 10);
  for (std::size_t i = 0; i < 30; ++i) {
    const Example& read = i < 20 ? train[i] : dev[i - 20];
    CHECK(read.first == examples[i].first);
    CHECK(read.label == examples[i].label);
  }
  CHECK(programs::source_of(folder) == "synthetic, seed 1");
  CHECK_THROWS_WITH(write_synthetic(folder, all, all, "x"),
                    (folder / "CoLA/train.tsv").string() + ": exists already and is not replaced");
}
