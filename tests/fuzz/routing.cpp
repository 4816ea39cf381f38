// SPDX-License-Identifier: MIT
// Routings of arbitrary lists: refused by validate(), or dispatched as plain loops say.
#include <span>
#include <stdexcept>
#include <vector>

#include <comet/core/routing.hpp>
#include <comet/dispatch/plan.hpp>

#include <fuzz/fuzz.hpp>

namespace {

using comet::ExpertId;
using comet::Index;
using comet::fuzz::expect;
using Routing = comet::Routing<float>;

bool is_valid(const Routing& routing, Index num_experts) {
  for (Index b = 0; b < routing.num_samples(); ++b) {
    const auto experts = routing.experts(b);
    for (std::size_t i = 0; i < experts.size(); ++i)
      if (experts[i] < 0 || experts[i] >= num_experts || (i > 0 && experts[i] <= experts[i - 1]))
        return false;
  }
  return true;
}

/// A table of all pairs, filled without an order to keep.
void check_plan(std::span<const Routing> routings, Index num_experts, Index num_samples,
                Index multiple) {
  comet::DispatchPlan plan;
  plan.build(routings, num_experts, multiple);
  expect(plan.num_tasks() == Index(routings.size()) && plan.num_samples() == num_samples,
         "a plan is of its routings");
  constexpr std::int32_t none = comet::DispatchPlan::no_column;
  std::vector<std::int32_t> columns(static_cast<std::size_t>(num_experts * num_samples), none);
  const auto column = [&](Index e, Index b) -> std::int32_t& {
    return columns[std::size_t(e * num_samples + b)];
  };
  for (const Routing& routing : routings)
    for (Index b = 0; b < num_samples; ++b)
      for (std::size_t i = 0; i < routing.experts(b).size(); ++i)
        if (routing.weights(b)[i] != 0.0F) column(routing.experts(b)[i], b) = 0;

  Index first = 0;
  Index pairs = 0;
  for (Index e = 0; e < num_experts; ++e) {
    expect(plan.first_column(e) == first, "experts follow each other");
    const auto samples = plan.samples(e);
    std::size_t count = 0;
    for (Index b = 0; b < num_samples; ++b) {
      if (column(e, b) == none) continue;
      expect(count < samples.size() && samples[count] == b, "an expert has its samples");
      column(e, b) = std::int32_t(first + Index(count++));
    }
    expect(count == samples.size() && plan.count(e) == Index(count), "and no others");
    expect(plan.padded_count(e) % multiple == 0 && plan.padded_count(e) >= plan.count(e) &&
               plan.padded_count(e) < plan.count(e) + multiple,
           "columns are rounded up");
    first += plan.padded_count(e);
    pairs += Index(count);
  }
  expect(plan.num_columns() == first && plan.num_pairs() == pairs, "nothing is left over");
  for (Index b = 0; b < num_samples; ++b) {
    std::size_t count = 0;
    for (Index e = 0; e < num_experts; ++e)
      if (column(e, b) != none)
        expect(count < plan.columns(b).size() && plan.columns(b)[count++] == column(e, b),
               "a sample has its columns");
    expect(count == plan.columns(b).size(), "and no others");
  }
  for (std::size_t t = 0; t < routings.size(); ++t) {
    std::size_t entry = 0;
    for (Index b = 0; b < num_samples; ++b)
      for (std::size_t i = 0; i < routings[t].experts(b).size(); ++i, ++entry)
        expect(
            plan.entry_columns(Index(t))[entry] ==
                (routings[t].weights(b)[i] == 0.0F ? none : column(routings[t].experts(b)[i], b)),
            "an entry finds its column");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  comet::fuzz::Bytes bytes(data, size);
  const Index num_experts = bytes.between(0, 40);
  const Index num_samples = bytes.between(0, 12);
  const Index multiple = bytes.between(1, 9);
  std::vector<Routing> routings(static_cast<std::size_t>(bytes.between(1, 3)));
  bool all_valid = true;
  for (Routing& routing : routings) {
    const Index rows = bytes.between(0, 15) == 15 ? bytes.between(0, 15) : num_samples;
    // Half of the lists are drawn ascending, or hardly any would be right.
    const bool ascending = bytes.between(0, 1) == 1;
    routing.clear();
    for (Index b = 0; b < rows; ++b) {
      Index expert = -1;
      for (Index i = bytes.between(0, 7); i > 0; --i) {
        expert = ascending ? expert + bytes.between(1, 8) : Index(bytes.take<std::int8_t>());
        routing.push(ExpertId(expert), bytes.number<float>());
      }
      routing.end_sample();
    }
    const bool expected = rows == num_samples && is_valid(routing, num_experts);
    bool accepted = true;
    try {
      routing.validate("fuzz", num_experts, num_samples);
    } catch (const std::invalid_argument&) {
      accepted = false;
    }
    expect(accepted == expected, "validate() refuses what is wrong, and only that");
    all_valid = all_valid && accepted;
  }
  if (all_valid) check_plan(routings, num_experts, num_samples, multiple);
  return 0;
}
