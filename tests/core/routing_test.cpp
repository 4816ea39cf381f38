// SPDX-License-Identifier: MIT
#include <algorithm>
#include <utility>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>

#include <support/catch.hpp>

using comet::ExpertId;
using comet::Index;
using comet::Matrix;
using comet::Routing;
using comet::RowBuilder;

namespace {

Routing<double> three_rows() {
  Routing<double> routing;
  routing.clear();
  routing.push(1, 0.25);
  routing.push(3, 0.75);
  routing.end_sample();
  routing.end_sample();
  routing.push(0, 1.0);
  routing.end_sample();
  return routing;
}

}  // namespace

TEST_CASE("a new routing is empty and can be filled without clear()") {
  Routing<double> routing;
  CHECK(routing.num_samples() == 0);
  routing.push(2, 0.5);
  routing.end_sample();
  REQUIRE(routing.experts(0).size() == 1);
  CHECK(routing.experts(0)[0] == 2);
  CHECK(routing.weights(0)[0] == 0.5);
}

TEST_CASE("a routing holds rows of any length, empty ones too") {
  const Routing<double> routing = three_rows();
  CHECK(routing.num_samples() == 3);
  CHECK(routing.num_entries() == 3);
  CHECK(routing.experts(0).size() == 2);
  CHECK(routing.experts(0)[1] == 3);
  CHECK(routing.weights(0)[1] == 0.75);
  CHECK(routing.experts(1).empty());
  CHECK(routing.weights(2)[0] == 1.0);
  CHECK(std::vector<Index>(routing.offsets().begin(), routing.offsets().end()) ==
        std::vector<Index>{0, 2, 2, 3});
  Matrix<double> dense = Matrix<double>::Zero(4, 3);
  dense(1, 0) = 0.25;
  dense(3, 0) = 0.75;
  dense(0, 2) = 1.0;
  CHECK(routing.dense(4) == dense);
}

TEST_CASE("a new routing has no samples, and a cleared one starts anew") {
  Routing<float> routing;
  CHECK(routing.num_samples() == 0);
  CHECK(routing.num_entries() == 0);
  CHECK(routing.dense(3).cols() == 0);
  routing.push(0, 1.0F);
  routing.end_sample();
  routing.clear();
  CHECK(routing.num_samples() == 0);
  CHECK(routing.num_entries() == 0);
}

TEST_CASE("resize makes room by the size of each row") {
  Routing<double> routing;
  routing.resize(std::vector<int>{2, 0, 1});
  REQUIRE(routing.num_samples() == 3);
  REQUIRE(routing.num_entries() == 3);
  const std::vector<ExpertId> experts{1, 3, 0};
  const std::vector<double> weights{0.25, 0.75, 1.0};
  std::copy(experts.begin(), experts.end(), routing.experts().begin());
  std::copy(weights.begin(), weights.end(), routing.weights().begin());
  CHECK(routing.dense(4) == three_rows().dense(4));
  CHECK_THROWS_WITH(routing.dense(-1),
                    "comet::Routing::dense: num_experts is -1, expected at least 0");
  CHECK_THROWS_WITH(routing.resize(std::vector<int>{2, -1, 1}),
                    "comet::Routing::resize: sizes[1] is -1, expected at least 0");
  CHECK(routing.num_samples() == 0);
  CHECK(routing.num_entries() == 0);
  routing.resize(std::vector<int>{1});
  routing.resize(std::vector<int>{});
  CHECK(routing.num_samples() == 0);
}

TEST_CASE("validate names what breaks the invariants") {
  const Routing<double> good = three_rows();
  CHECK_NOTHROW(good.validate("Here", 4, 3));
  CHECK_THROWS_WITH(good.validate("Here", 4, 2),
                    "comet::Here: routing.num_samples() is 3, expected x.cols() = 2");
  CHECK_THROWS_WITH(good.validate("Here", 3, 3),
                    "comet::Here: an expert of routing sample 0 is 3, expected above 1 and below "
                    "num_experts = 3");
  const auto one_row = [](ExpertId first, ExpertId second) {
    Routing<double> routing;
    routing.clear();
    routing.end_sample();
    routing.push(first, 0.5);
    routing.push(second, 0.5);
    routing.end_sample();
    return routing;
  };
  CHECK_THROWS_WITH(one_row(2, 1).validate("Here", 4, 2),
                    "comet::Here: an expert of routing sample 1 is 1, expected above 2 and below "
                    "num_experts = 4");
  CHECK_THROWS_WITH(one_row(2, 2).validate("Here", 4, 2),
                    "comet::Here: an expert of routing sample 1 is 2, expected above 2 and below "
                    "num_experts = 4");
  CHECK_THROWS_WITH(one_row(-1, 2).validate("Here", 4, 2),
                    "comet::Here: an expert of routing sample 1 is -1, expected above -1 and below "
                    "num_experts = 4");
  CHECK_THROWS_WITH(good.dense(3),
                    "comet::Routing::dense: an expert is 3, expected at least 0 and below "
                    "num_experts = 3");
  CHECK_THROWS_WITH(one_row(-1, 2).dense(3),
                    "comet::Routing::dense: an expert is -1, expected at least 0 and below "
                    "num_experts = 3");
}

TEST_CASE("a routing is a regular value") {
  Routing<double> routing = three_rows();
  const Routing<double> copy = routing;
  routing.weights()[0] = 9;
  CHECK(copy.weights()[0] == 0.25);
  CHECK(Routing<double>(std::move(routing)).num_entries() == 3);
}

TEST_CASE("a row is built from weights in any order: experts ascend, the same ones are added") {
  Routing<double> routing;
  RowBuilder<double> row;
  const auto add = [&](std::vector<std::pair<ExpertId, double>> weights) {
    row.clear();
    for (const auto& [expert, weight] : weights) row.add(expert, weight);
    CHECK(row.size() == Index(weights.size()));
    row.end(routing);
  };
  add({{3, 0.5}, {1, 0.25}});
  add({});
  add({{2, 0.125}, {0, 0.5}, {2, 0.25}});
  REQUIRE(routing.num_samples() == 3);
  Matrix<double> expected = Matrix<double>::Zero(4, 3);
  expected(1, 0) = 0.25;
  expected(3, 0) = 0.5;
  expected(0, 2) = 0.5;
  expected(2, 2) = 0.375;
  CHECK(routing.dense(4) == expected);
  CHECK(routing.num_entries() == 4);
  CHECK_NOTHROW(routing.validate("Here", 4, 3));
}

TEST_CASE("a row adds in the order in which weights came, and tells where each of them went") {
  const comet::RandomKey key(1);
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    CAPTURE(seed);
    const comet::RandomKey own = key.fold(seed);
    const std::size_t count = own.index(0, 40);
    std::vector<ExpertId> experts;
    std::vector<float> weights;
    std::vector<float> sums(10, 0.0F);
    Routing<float> routing;
    routing.push(7, 1.0F);  // a row before this one
    routing.end_sample();
    RowBuilder<float> row;
    row.clear();
    for (std::size_t i = 0; i < count; ++i) {
      experts.push_back(ExpertId(own.index(100 + i, 10)));
      weights.push_back(float(own.uniform(200 + i, 0, 1e6)));
      sums[std::size_t(experts[i])] += weights[i];
      row.add(experts[i], weights[i]);
    }
    std::vector<Index> places(count, -1);
    row.end(routing, [&](Index i, Index entry) { places[std::size_t(i)] = entry; });
    for (std::size_t i = 0; i < count; ++i) {
      REQUIRE(places[i] >= 1);
      CHECK(routing.experts()[std::size_t(places[i])] == experts[i]);
    }
    CHECK(std::is_sorted(routing.experts(1).begin(), routing.experts(1).end()));
    for (std::size_t i = 0; i < routing.experts(1).size(); ++i)
      CHECK(routing.weights(1)[i] == sums[std::size_t(routing.experts(1)[i])]);
  }
}
