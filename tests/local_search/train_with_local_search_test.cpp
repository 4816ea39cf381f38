// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <string>
#include <vector>

#include <comet/gates/top_k.hpp>
#include <comet/local_search/no_search.hpp>
#include <comet/local_search/permutation_search.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/local_search/train_with_local_search.hpp>

#include <planted.hpp>

using namespace comet;

namespace {

using Gates = std::vector<PermutedGate<TopKGate<float>>>;

/// Writes down who is called.
struct Recorder {
  std::string calls;
  Index steps_left = 2;

  void prepare(Gates& /*gates*/) { calls += 'p'; }
  void backward(const auto&, const auto&, const auto&) { calls += 'b'; }
  void advance(Gates& /*gates*/) {
    calls += 'a';
    --steps_left;
  }
  [[nodiscard]] bool finished() const { return steps_left == 0; }
  [[nodiscard]] double regularization() const { return 0; }
  void visit(const auto&) const {}
  void visit_state(const auto&) const {}
  void restored() const {}
};
static_assert(PermutationStrategy<Recorder, Gates>);
static_assert(PermutationStrategy<PermutationSearch<float>, Gates>);
static_assert(PermutationStrategy<NoSearch, Gates>);
static_assert(!PermutationStrategy<Recorder, std::vector<TopKGate<float>>>);

/// Slots shuffled against experts that are right: with and without search, the same steps.
void check_escapes(planted::MakeGate make_gate, double factor) {
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
                      .train_experts = false},
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
  Gates gates;
  std::vector<Index> steps;
  train_with_local_search(
      search, gates, 4,
      [&](Index step) {
        search.calls += 'g';
        search.backward(gates, gates, step);
        steps.push_back(step);
      },
      [&](Index step) {
        search.calls += 'u';
        steps.push_back(step);
      });
  CHECK(search.calls == "pgbuapgbuagbugbu");
  CHECK(steps == std::vector<Index>{0, 0, 1, 1, 2, 2, 3, 3});
  NoSearch none;
  Index count = 0;
  train_with_local_search(
      none, gates, 3, [&](Index) { ++count; }, [&](Index) { ++count; });
  CHECK(count == 6);
  CHECK(count_parameters(none) == 0);
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
