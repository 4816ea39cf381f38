// SPDX-License-Identifier: MIT
#include <utility>
#include <vector>

#include <comet/experts/dense.hpp>
#include <comet/experts/detail/blocks.hpp>

#include <support/catch.hpp>

using namespace comet;

TEST_CASE("blocks cover every column once, in even widths, widest first") {
  for (const Index multiple : {1, 4}) {
    Routing<double> routing;
    const Index samples = 300;
    for (Index b = 0; b < samples; ++b) {  // expert 0 has all, 1 a third, 2 one, 3 none
      routing.push(0, 1.0);
      if (b % 3 == 0) routing.push(1, 1.0);
      if (b == 7) routing.push(2, 1.0);
      routing.end_sample();
    }
    DispatchPlan plan;
    plan.build(routing, 4, multiple);
    std::vector<detail::Block> blocks;
    detail::cut_blocks(plan, 0, 4, 128, multiple, blocks);
    std::vector<std::vector<int>> seen(4);
    for (Index e = 0; e < 4; ++e) seen[std::size_t(e)].resize(std::size_t(plan.padded_count(e)));
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const detail::Block& block = blocks[i];
      CHECK(block.width % multiple == 0);
      CHECK(block.width <= 128);
      if (i > 0) CHECK(blocks[i - 1].width >= block.width);
      for (Index c = 0; c < block.width; ++c)
        ++seen[std::size_t(block.expert)][std::size_t(block.first + c)];
    }
    for (const auto& expert : seen)
      for (const int times : expert) CHECK(times == 1);
    CHECK(blocks.size() == 3 + 1 + 1);

    // Some of the experts alone.
    detail::cut_blocks(plan, 1, 2, 128, multiple, blocks);
    REQUIRE(blocks.size() == 2);
    CHECK(blocks[0].expert == 1);
    CHECK(blocks[0].width == plan.padded_count(1));
    CHECK(blocks[1].expert == 2);
    CHECK(blocks[1].width == plan.padded_count(2));
    detail::cut_blocks(plan, 3, 1, 128, multiple, blocks);
    CHECK(blocks.empty());
  }
}

TEST_CASE("slices of as many experts as there are workers come in turn") {
  Routing<double> routing;
  for (const ExpertId e : {0, 1, 1, 3, 4}) {  // none for expert 2
    routing.push(e, 1.0);
    routing.end_sample();
  }
  DispatchPlan plan;
  plan.build(routing, 5);
  const DenseExpert<double> expert({.input_dim = 2, .output_dim = 200}, RandomKey(1));
  const auto cut = [&](Index first_expert, Index count, Index workers) {
    std::vector<detail::Slice> slices;
    const std::vector<DenseExpert<double>> experts(std::size_t(count), expert);
    const Index most = detail::cut_slices(experts, plan, first_expert, workers, slices);
    std::vector<std::pair<int, int>> pairs;
    for (const auto& [number, slice] : slices) pairs.emplace_back(number, slice);
    return std::pair(most, pairs);
  };
  using Pairs = std::vector<std::pair<int, int>>;
  REQUIRE(expert.num_slices() == 2);
  CHECK(cut(0, 5, 1) ==
        std::pair(Index(2), Pairs{{0, 0}, {0, 1}, {1, 0}, {1, 1}, {3, 0}, {3, 1}, {4, 0}, {4, 1}}));
  CHECK(cut(0, 5, 3) ==
        std::pair(Index(2), Pairs{{0, 0}, {1, 0}, {3, 0}, {0, 1}, {1, 1}, {3, 1}, {4, 0}, {4, 1}}));
  CHECK(cut(0, 5, 9).second.size() == 8);
  CHECK(cut(2, 3, 2) == std::pair(Index(1), Pairs{{1, 0}, {2, 0}, {1, 1}, {2, 1}}));
  CHECK(cut(2, 1, 2) == std::pair(Index(0), Pairs{}));

  // Of experts that have one, none as nobody asks, two and three.
  std::vector<DenseExpert<double>> unequal;
  for (const Index m : {100, 300, 300, 200, 300})
    unequal.emplace_back(DenseExpertOptions{.input_dim = 2, .output_dim = m}, RandomKey(1));
  std::vector<detail::Slice> slices;
  CHECK(detail::cut_slices(unequal, plan, 0, 4, slices) == 2);
  Pairs pairs;
  for (const auto& [number, slice] : slices) pairs.emplace_back(number, slice);
  CHECK(pairs == Pairs{{0, 0}, {1, 0}, {3, 0}, {4, 0}, {1, 1}, {3, 1}, {4, 1}, {1, 2}, {4, 2}});
}
