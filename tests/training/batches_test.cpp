// SPDX-License-Identifier: MIT
#include <algorithm>
#include <string>
#include <vector>

#include <comet/training/batches.hpp>

#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

using namespace comet;

namespace {

std::vector<std::vector<Index>> all(const Batches& batches) {
  std::vector<std::vector<Index>> result;
  for (const auto batch : batches) result.emplace_back(batch.begin(), batch.end());
  return result;
}

std::vector<Index> sorted(const std::vector<std::vector<Index>>& batches) {
  std::vector<Index> rows;
  for (const auto& batch : batches) rows.insert(rows.end(), batch.begin(), batch.end());
  std::sort(rows.begin(), rows.end());
  return rows;
}

}  // namespace

TEST_CASE("every row is in one batch, in an order of the key") {
  const auto batches = all(Batches(10, 4, RandomKey(1)));
  REQUIRE(batches.size() == 3);
  CHECK(batches[0].size() == 4);
  CHECK(batches[1].size() == 4);
  CHECK(batches[2].size() == 2);
  CHECK(sorted(batches) == std::vector<Index>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(all(Batches(10, 4, RandomKey(1))) == batches);
  CHECK(all(Batches(10, 4, RandomKey(2))) != batches);
  // The order that RandomKey::shuffle gives, on every machine.
  std::vector<Index> order{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  RandomKey(1).shuffle(std::span(order));
  CHECK(std::equal(batches[0].begin(), batches[0].end(), order.begin()));
}

TEST_CASE("a smaller last batch can be left out, and rows can be some of a table") {
  CHECK(Batches(10, 4, RandomKey(1), LastBatch::drop).size() == 2);
  CHECK(Batches(8, 4, RandomKey(1), LastBatch::drop).size() == 2);
  CHECK(Batches(8, 4, RandomKey(1)).size() == 2);
  CHECK(Batches(3, 4, RandomKey(1), LastBatch::drop).size() == 0);
  CHECK(all(Batches(0, 4, RandomKey(1))).empty());
  const std::vector<Index> rows{3, 30, 5};
  CHECK(sorted(all(Batches(rows, 2, RandomKey(1)))) == std::vector<Index>{3, 5, 30});
  CHECK(rows == std::vector<Index>{3, 30, 5});
}

TEST_CASE("batches are views that allocate nothing, and refuse wrong sizes") {
  const Batches batches(100, 8, RandomKey(1));
  Index sum = 0;
  const auto epoch = [&] {
    for (const auto batch : batches)
      for (const Index row : batch) sum += row;
  };
  epoch();
  CHECK(sum == 4950);
  if (test::can_count_allocations) CHECK(test::count_allocations(epoch) == 0);
  const Batches dropped(10, 4, RandomKey(1), LastBatch::drop);
  for (const Index i : {-1, 2})
    CHECK_THROWS_WITH(dropped[i], "comet::Batches::operator[]: i is " + std::to_string(i) +
                                      ", expected at least 0 and below size() = 2");
  CHECK(dropped[1].size() == 4);
  CHECK_THROWS_WITH(Batches(10, 0, RandomKey(1)),
                    "comet::Batches: batch_size is 0, expected at least 1");
  CHECK_THROWS_WITH(Batches(-1, 4, RandomKey(1)),
                    "comet::Batches: num_rows is -1, expected at least 0");
}
