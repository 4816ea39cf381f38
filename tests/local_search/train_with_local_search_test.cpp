// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <string>
#include <vector>

#include <comet/gates/top_k.hpp>
#include <comet/local_search/permutation_search.hpp>
#include <comet/local_search/train_with_local_search.hpp>

#include <planted.hpp>

using namespace comet;

namespace {

/// Writes down who is called.
struct Recorder {
  std::string calls;
  Index steps_left = 2;

  void prepare(std::vector<int>& /*gates*/) { calls += 'p'; }
  void backward(std::vector<int>& /*gates*/) { calls += 'b'; }
  void advance(std::vector<int>& /*gates*/) {
    calls += 'a';
    --steps_left;
  }
  [[nodiscard]] bool finished() const { return steps_left == 0; }
};
static_assert(PermutationStrategy<Recorder, std::vector<int>>);
static_assert(
    PermutationStrategy<PermutationSearch<float>, std::vector<PermutedGate<TopKGate<float>>>>);

constexpr Annealing warm = {.first_temperature = 0.1,
                            .last_temperature = 1e-3,
                            .first_iterations = 20,
                            .last_iterations = 20};

/// Slots shuffled against experts that are right: with and without search, the same steps.
template <class In>
void check_escapes(planted::MakeGate<In> make_gate, double factor) {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    CAPTURE(seed);
    const RandomKey key(seed);
    const auto truth = planted::make_truth(make_gate, key.fold(0));
    const auto data = planted::make_data(truth, 256, key.fold(1));
    const auto held_out = planted::make_data(truth, 64, key.fold(2));
    const auto loss_after = [&](planted::Search search) {
      auto layer = planted::shuffled(truth);
      const double before = planted::loss(layer, data);
      planted::train(layer, data, held_out,
                     {.search = search,
                      .steps = 120,
                      .search_steps = 100,
                      .learning_rate = 0.01,
                      .train_experts = false,
                      .annealing = warm},
                     key.fold(4));
      const double after = planted::loss(layer, data);
      CHECK(after < before + 1e-12);
      return after;
    };
    const double none = loss_after(planted::Search::none);
    CHECK(loss_after(planted::Search::relaxed) < factor * none);
    CHECK(loss_after(planted::Search::swap) < factor * none);
  }
}

}  // namespace

TEST_CASE("a step calls the search in order, until it has finished") {
  Recorder search;
  std::vector<int> gates;
  std::vector<Index> steps;
  train_with_local_search(
      search, gates, 4,
      [&](Index step) {
        search.calls += 'g';
        steps.push_back(step);
      },
      [&](Index step) {
        search.calls += 'u';
        steps.push_back(step);
      });
  CHECK(search.calls == "pgbuapgbuagugu");
  CHECK(steps == std::vector<Index>{0, 0, 1, 1, 2, 2, 3, 3});
  CHECK_NOTHROW(train_with_local_search(
      search, gates, 0, [](Index) {}, [](Index) {}));
  CHECK_THROWS_WITH(train_with_local_search(
                        search, gates, -1, [](Index) {}, [](Index) {}),
                    "comet::train_with_local_search: steps is -1, expected at least 0");
}

TEST_CASE("both searches find an order of experts that first-order training does not") {
  SECTION("Hash") { check_escapes(&planted::hash_gate, 0.01); }
  SECTION("Top-k") { check_escapes(&planted::top_k_gate, 0.3); }
  SECTION("DSelect-k") { check_escapes(&planted::smooth_gate<comet::DSelectKGate<double>>, 0.3); }
  SECTION("COMET") { check_escapes(&planted::smooth_gate<comet::CometGate<double>>, 0.3); }
}
