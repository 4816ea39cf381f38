// SPDX-License-Identifier: MIT
#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include <comet/dispatch/plan.hpp>

#include <support/catch.hpp>
#include <support/fixed_gate.hpp>

using namespace comet;
using comet::test::Load;

namespace {

/// Everything a plan promises, from the routings alone.
void check_plan(const DispatchPlan& plan, const std::vector<Routing<double>>& routings,
                Index num_experts, Index num_samples, Index multiple) {
  std::vector<std::set<SampleId>> samples(static_cast<std::size_t>(num_experts));
  for (const auto& routing : routings)
    for (Index b = 0; b < num_samples; ++b)
      for (std::size_t i = 0; i < routing.experts(b).size(); ++i)
        if (routing.weights(b)[i] != 0.0)
          samples[std::size_t(routing.experts(b)[i])].insert(SampleId(b));

  REQUIRE(plan.num_experts() == num_experts);
  REQUIRE(plan.num_samples() == num_samples);
  CHECK(plan.num_tasks() == Index(routings.size()));
  std::map<std::pair<Index, SampleId>, std::int32_t> column_of;
  Index columns = 0;
  Index pairs = 0;
  for (Index e = 0; e < num_experts; ++e) {
    const auto& expected = samples[std::size_t(e)];
    const auto count = Index(expected.size());
    CHECK(plan.first_column(e) == columns);
    CHECK(plan.count(e) == count);
    CHECK(plan.padded_count(e) == (count + multiple - 1) / multiple * multiple);
    const auto actual = plan.samples(e);
    CHECK(std::vector<SampleId>(actual.begin(), actual.end()) ==
          std::vector<SampleId>(expected.begin(), expected.end()));
    for (std::size_t i = 0; i < actual.size(); ++i)
      column_of[{e, actual[i]}] = std::int32_t(columns + Index(i));
    columns += plan.padded_count(e);
    pairs += count;
  }
  CHECK(plan.num_columns() == columns);
  REQUIRE(Index(plan.column_samples().size()) == columns);
  for (Index e = 0; e < num_experts; ++e) {
    CHECK(plan.serves_all(e) == (plan.count(e) == num_samples));
    for (Index c = plan.count(e); c < plan.padded_count(e); ++c)
      CHECK(plan.column_samples()[std::size_t(plan.first_column(e) + c)] == -1);
  }
  CHECK(plan.num_pairs() == pairs);

  for (std::size_t t = 0; t < routings.size(); ++t) {
    const auto entry_columns = plan.entry_columns(Index(t));
    REQUIRE(Index(entry_columns.size()) == routings[t].num_entries());
    std::size_t entry = 0;
    for (Index b = 0; b < num_samples; ++b)
      for (std::size_t i = 0; i < routings[t].experts(b).size(); ++i, ++entry) {
        const bool used = routings[t].weights(b)[i] != 0.0;
        const auto expected =
            used ? column_of.at({routings[t].experts(b)[i], SampleId(b)}) : DispatchPlan::no_column;
        CHECK(entry_columns[entry] == expected);
        if (used) CHECK(plan.expert(expected) == routings[t].experts(b)[i]);
      }
  }
  for (Index b = 0; b < num_samples; ++b) {
    std::vector<std::int32_t> expected;
    for (Index e = 0; e < num_experts; ++e)
      if (samples[std::size_t(e)].contains(SampleId(b)))
        expected.push_back(column_of.at({e, SampleId(b)}));
    const auto actual = plan.columns(b);
    CHECK(std::vector<std::int32_t>(actual.begin(), actual.end()) == expected);
  }
}

}  // namespace

TEST_CASE("a plan lists the samples of each expert, and finds every pair once") {
  DispatchPlan plan;  // used again and again: nothing of an earlier batch may be left
  for (const Load load : {Load::random, Load::skewed, Load::idle, Load::full, Load::empty})
    for (const Index num_samples : {0, 1, 7, 40})
      for (const std::size_t tasks : {1U, 2U, 3U})
        for (const Index multiple : {1, 4, 20}) {
          CAPTURE(int(load), num_samples, tasks, multiple);
          const Index n = 6;
          std::vector<Routing<double>> routings;
          for (std::size_t t = 0; t < tasks; ++t)
            routings.push_back(test::make_routing<double>(load, n, num_samples, RandomKey(t)));
          plan.build(std::span<const Routing<double>>(routings), n, multiple);
          check_plan(plan, routings, n, num_samples, multiple);
        }
}

TEST_CASE("a pair that one task lists with weight 0 and another uses has a column") {
  Routing<double> zero, used;
  for (auto* routing : {&zero, &used}) {
    routing->clear();
    routing->push(2, routing == &used ? 1.0 : 0.0);
    routing->end_sample();
  }
  const std::vector<Routing<double>> routings{zero, used};
  DispatchPlan plan;
  plan.build(std::span<const Routing<double>>(routings), 3, 4);
  check_plan(plan, routings, 3, 1, 4);
  CHECK(plan.num_pairs() == 1);
  CHECK(plan.entry_columns(0)[0] == DispatchPlan::no_column);
  CHECK(plan.entry_columns(1)[0] == 0);
}

TEST_CASE("a new plan is empty") {
  const DispatchPlan plan;
  CHECK(plan.num_experts() == 0);
  CHECK(plan.num_samples() == 0);
  CHECK(plan.num_columns() == 0);
  CHECK(plan.num_pairs() == 0);
}

TEST_CASE("a plan of one routing needs no list of them") {
  const auto routing = test::make_routing<double>(Load::random, 4, 9, RandomKey(1));
  DispatchPlan plan;
  plan.build(routing, 4, 4);
  check_plan(plan, {routing}, 4, 9, 4);
}

TEST_CASE("a plan refuses routings that break their promises or do not belong together") {
  const auto seven = test::make_routing<double>(Load::full, 3, 7, RandomKey(1));
  const auto eight = test::make_routing<double>(Load::full, 3, 8, RandomKey(1));
  const std::vector<Routing<double>> routings{seven, eight}, none;
  DispatchPlan plan;
  CHECK_THROWS_WITH(plan.build(std::span<const Routing<double>>(none), 3),
                    "comet::DispatchPlan::build: routings.size() is 0, expected at least 1");
  CHECK_THROWS_WITH(
      plan.build(std::span<const Routing<double>>(routings), 3),
      "comet::DispatchPlan::build: routing.num_samples() is 8, expected x.cols() = 7");
  CHECK_THROWS_WITH(plan.build(seven, 2),
                    "comet::DispatchPlan::build: an expert of routing sample 0 is 2, expected "
                    "above 1 and below num_experts = 2");
  CHECK_THROWS_WITH(plan.build(seven, 3, 0),
                    "comet::DispatchPlan::build: column_multiple is 0, expected at least 1");
  // Columns have numbers of 32 bits: more would be written in front of the first.
  const Index most = std::numeric_limits<std::int32_t>::max();
  CHECK_THROWS_WITH(plan.build(seven, 3, most + 1),
                    "comet::DispatchPlan::build: column_multiple is 2147483648, expected at most "
                    "the largest int32 = 2147483647");
  CHECK_THROWS_WITH(plan.build(seven, 3, Index(1) << 30),
                    "comet::DispatchPlan::build: num_columns() is 3221225472, expected at most "
                    "the largest int32 = 2147483647");
  CHECK(plan.num_columns() == 0);
  CHECK(plan.num_experts() == 0);
}

TEST_CASE("a plan of pairs that others have routed is that of their routing, without tasks") {
  DispatchPlan expected, plan;
  for (const Load load : {Load::random, Load::skewed, Load::idle, Load::full, Load::empty})
    for (const Index num_samples : {0, 1, 40})
      for (const Index multiple : {1, 4}) {
        CAPTURE(int(load), num_samples, multiple);
        const Index n = 6;
        expected.build(test::make_routing<double>(load, n, num_samples, RandomKey(1)), n, multiple);
        std::vector<Index> counts;
        std::vector<SampleId> samples;
        for (Index e = 0; e < n; ++e) {
          counts.push_back(expected.count(e));
          samples.insert(samples.end(), expected.samples(e).begin(), expected.samples(e).end());
        }
        plan.build(counts, samples, num_samples, multiple);
        CHECK(plan.num_tasks() == 0);
        CHECK(plan.num_experts() == n);
        CHECK(plan.num_samples() == num_samples);
        CHECK(plan.num_pairs() == expected.num_pairs());
        CHECK(plan.num_columns() == expected.num_columns());
        CHECK(std::ranges::equal(plan.column_samples(), expected.column_samples()));
        for (Index e = 0; e < n; ++e) {
          CHECK(plan.first_column(e) == expected.first_column(e));
          CHECK(plan.count(e) == expected.count(e));
        }
        for (Index b = 0; b < num_samples; ++b)
          CHECK(std::ranges::equal(plan.columns(b), expected.columns(b)));
      }
}

TEST_CASE("a plan refuses pairs that are none") {
  DispatchPlan plan;
  const std::vector<Index> counts{1, 2}, negative{-1, 0};
  const std::vector<SampleId> few{0, 1}, twice{0, 1, 1}, beyond{0, 1, 3};
  CHECK_THROWS_WITH(plan.build(negative, {}, 3),
                    "comet::DispatchPlan::build: a count of pairs is -1, expected at least 0");
  CHECK_THROWS_WITH(
      plan.build(counts, few, 3),
      "comet::DispatchPlan::build: samples.size() is 2, expected sum of the counts = 3");
  CHECK_THROWS_WITH(plan.build(counts, twice, 3),
                    "comet::DispatchPlan::build: a sample of expert 1 is 1, expected above 1 and "
                    "below num_samples = 3");
  CHECK_THROWS_WITH(plan.build(counts, beyond, 3),
                    "comet::DispatchPlan::build: a sample of expert 1 is 3, expected above 1 and "
                    "below num_samples = 3");
  CHECK_THROWS_WITH(plan.build(Routing<double>(), -1),
                    "comet::DispatchPlan::build: num_experts is -1, expected at least 1");

  // What was refused has changed nothing.
  const std::vector<SampleId> right{2, 0, 1};
  plan.build(counts, right, 3);
  CHECK_THROWS(plan.build(std::vector<Index>{1, 1, 1, 0}, twice, 1));
  CHECK(plan.num_experts() == 2);
  CHECK(plan.num_pairs() == 3);
  CHECK(plan.num_samples() == 3);
}
