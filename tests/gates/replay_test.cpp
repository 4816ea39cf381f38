// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/all.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/gates/replay.hpp>
#include <comet/io/safetensors.hpp>
#include <comet/moe_layer.hpp>
#include <comet/testing/gate_laws.hpp>
#include <comet/training/routing_recorder.hpp>

#include <support/gates.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

static_assert(RoutingGate<ReplayGate<float>>);
static_assert(!Parametric<ReplayGate<float>>);
static_assert(LoadedGate<ReplayGate<float>> && Stateful<ReplayGate<float>>);
static_assert(!FreezableGate<ReplayGate<float>>);

namespace {

constexpr Index num_inputs = 5, num_experts = 8;

/// A batch of a step.
template <class S>
Matrix<S> batch(Index step, Index size = 12) {
  return random_matrix<S>(num_inputs, size, std::uint64_t(step) + 1);
}

/// Rows by hand, one routing per list of rows.
Routing<double> rows_of(const std::vector<std::vector<std::pair<ExpertId, double>>>& rows) {
  Routing<double> routing;
  for (const auto& row : rows) {
    for (const auto& [expert, weight] : row) routing.push(expert, weight);
    routing.end_sample();
  }
  return routing;
}

/// Of one batch, by Top-k.
template <class S>
std::vector<Routing<S>> recorded(Index size) {
  const TopKGate<S> gate({.input_dim = num_inputs, .num_experts = num_experts, .k = 2},
                         RandomKey(1));
  return {test::routed(gate, batch<S>(0, size))};
}

/// What a training with dropout leaves: outputs of every step and the experts' parameters.
template <class S>
struct Trained {
  std::vector<Matrix<S>> outputs;
  std::vector<std::vector<S>> gradients;
};

/// Steps of an optimizer that moves the experts alone: gates stay as they are in both layers.
template <class S, class Layer>
Trained<S> trained(Layer& layer, ThreadPool* pool, RoutingRecorder<S>* recorder) {
  Trained<S> result;
  Pass pass(layer, pool);
  const Index tasks = layer.num_tasks();
  for (Index step = 0; step < 4; ++step) {
    const Matrix<S> x = batch<S>(step, 12 + step);
    Matrix<S> y(3, tasks * x.cols());
    layer.forward(x, y, RandomKey(7).fold(step), pass);
    if (recorder != nullptr) recorder->record(step, pass);
    layer.backward(x, y, pass);
    result.outputs.push_back(y);
    std::vector<S> gradients;
    const auto view = pass.gradients(layer);
    Index tensor = 0;
    for_each_parameter(layer.experts(), [&](const ParameterName&, auto& values) {
      const auto gradient = view[tensor++];
      gradients.insert(gradients.end(), gradient.data(), gradient.data() + gradient.size());
      values -= S(0.1) * gradient;
    });
    for (Index i = 0; i < view.size(); ++i) view[i].setZero();
    result.gradients.push_back(gradients);
    if constexpr (requires { layer.gates()[0].position(); })
      for (auto& gate : layer.gates())
        end_of_step(gate, summarize(pass.workspace.routing(), num_experts).load);
  }
  return result;
}

template <class S>
bool same(const Trained<S>& a, const Trained<S>& b) {
  bool all = a.outputs.size() == b.outputs.size();
  for (std::size_t i = 0; all && i < a.outputs.size(); ++i)
    all = test::same_bits(a.outputs[i], b.outputs[i]) && a.gradients[i] == b.gradients[i];
  return all;
}

}  // namespace

TEMPLATE_TEST_CASE("replay obeys the laws of gates for batches of its size", "[law]",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const ReplayGate<S> gate(recorded<S>(7), num_experts);
  std::function<long()> allocations;
  if (test::can_count_allocations) allocations = [] { return test::allocations.load(); };
  for (const auto& broken :
       testing::check_gate_laws(gate, {.any_size = false, .count_allocations = allocations}))
    FAIL(broken);
  // In training, too: through the type that has forward() and backward() for every gate.
  for (const auto& broken : testing::check_gate_laws(
           AnyGate<S>(gate), {.any_size = false, .count_allocations = allocations}))
    FAIL(broken);
  CHECK(comet::depends_on_batch(AnyGate<S>(gate)));
  CHECK(AnyGate<S>(gate).name() == "replay");
  // Of other sizes it says so, and the laws notice.
  CHECK_FALSE(testing::check_gate_laws(gate, {.num_samples = 6}).empty());
}

TEMPLATE_TEST_CASE("a layer that replays has the bits of the one that was recorded", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const auto experts = make_experts<DenseExpert<S>>(
      num_experts, {.input_dim = num_inputs, .output_dim = 3, .dropout = 0.3}, RandomKey(2));
  for (const std::string kind : {"comet", "top_k"}) {
    CAPTURE(kind);
    const GateOptions options{.input_dim = num_inputs, .num_experts = num_experts, .k = 2};
    MoeLayer layer(std::vector{make_gate<S>(kind, options, RandomKey(3)),
                               make_gate<S>(kind, options, RandomKey(4))},
                   experts);
    RoutingRecorder<S> recorder({.keep_rows = true});
    const Trained<S> expected = trained<S>(layer, nullptr, &recorder);
    const auto replayed = [&](Index task) {
      return ReplayGate<S>(recorder.rows(task), num_experts);
    };
    for (const Index threads : {1, 2}) {
      ThreadPool pool(threads);
      MoeLayer again(std::vector{replayed(0), replayed(1)}, experts);
      CHECK(same(trained<S>(again, &pool, nullptr), expected));
      CHECK(again.gates()[1].position() == 4);
    }
    MoeLayer swapped(std::vector{replayed(1), replayed(0)}, experts);
    CHECK_FALSE(same(trained<S>(swapped, nullptr, nullptr), expected));

    // In inference, and in a gate that is chosen at run time.
    const Matrix<S> x = batch<S>(2, 14);
    MoeLayer any(std::vector{AnyGate<S>(replayed(0)), AnyGate<S>(replayed(1))}, layer.experts());
    for (auto& gate : any.gates()) gate.template get_if<ReplayGate<S>>()->seek(2);
    Pass pass(layer), any_pass(any);
    Matrix<S> y(3, 28), any_y(3, 28), dx = Matrix<S>::Zero(num_inputs, 14);
    layer.predict(x, y, pass);
    any.predict(x, any_y, any_pass);
    CHECK(test::same_bits(y, any_y));
    // dx is the experts' part alone: the gate has none.
    any.forward(x, any_y, RandomKey(0), any_pass);
    any.backward(x, y, dx, any_pass);
    CHECK_FALSE(dx.isZero(0));
  }
}

TEST_CASE("replay goes from record to record, and its place is kept in files") {
  const std::vector<Routing<double>> records{rows_of({{{0, 0.25}, {2, 0.75}}, {}}),
                                             rows_of({{{1, 1.0}}})};
  ReplayGate<double> gate(records, 3);
  CHECK(gate.num_records() == 2);
  CHECK(gate.max_active() == 2);
  Pass pass(gate);
  Routing<double> routing;
  const Matrix<double> one = Matrix<double>::Zero(4, 1), two = Matrix<double>::Zero(1, 2);
  gate.route(two, routing, pass);
  CHECK(routing.dense(3) == records[0].dense(3));
  const std::vector<std::uint8_t> mask{0, 1};
  gate.route({two, {}, mask}, routing, pass);
  CHECK(routing.num_samples() == 2);
  CHECK(routing.num_entries() == 0);
  gate.route(Matrix<double>(4, 0), routing, pass);  // an empty batch is of no record
  CHECK(routing.num_samples() == 0);
  CHECK_THROWS_WITH(gate.route(one, routing, pass),
                    "comet::ReplayGate::route: x.cols() is 1, expected rows of record 0 = 2");
  const std::vector<Index> load{1, 0, 1};
  end_of_step(gate, load);
  gate.route(one, routing, pass);
  CHECK(routing.dense(3) == records[1].dense(3));

  const auto file = std::filesystem::temp_directory_path() / "comet_replay.safetensors";
  save_tensors(file, state_tensors(gate, "gate."));
  ReplayGate<double> resumed(records, 3);
  load_state(TensorFile(file), resumed, "gate.");
  CHECK(resumed.position() == 1);
  ReplayGate<double> shorter({}, 3);
  CHECK_THROWS_WITH(load_state(TensorFile(file), shorter, "gate."),
                    ContainsSubstring("ReplayGate::restored: position is 1, expected in 0..0"));
  std::filesystem::remove(file);

  end_of_step(gate, load);
  CHECK(gate.position() == 2);
  const std::string nothing = "no record is left: all 2 have been given; seek() goes back";
  CHECK_THROWS_WITH(gate.route(one, routing, pass), "comet::ReplayGate::route: " + nothing);
  CHECK_THROWS_WITH(end_of_step(gate, load), "comet::ReplayGate::end_of_step: " + nothing);
  gate.seek(0);
  gate.route(two, routing, pass);
  CHECK(routing.num_entries() == 2);
}

TEST_CASE("what cannot be replayed is refused in words") {
  const auto of = [](const Routing<double>& rows) {
    return ReplayGate<double>({rows_of({{{0, 1.0}}}), rows}, 3);
  };
  CHECK_NOTHROW(of(rows_of({{}})));
  CHECK_THROWS_WITH(of(rows_of({{}, {{3, 1.0}}})),
                    "comet::ReplayGate: record 1: an expert of routing sample 1 is 3, expected "
                    "above -1 and below num_experts = 3");
  CHECK_THROWS_WITH(
      of(rows_of({{{0, -0.5}}})),
      "comet::ReplayGate: record 1: a weight is -0.5, expected finite and at least 0");
  CHECK_THROWS_AS(of(rows_of({{{0, std::numeric_limits<double>::quiet_NaN()}}})),
                  std::invalid_argument);
  CHECK_THROWS_WITH(ReplayGate<double>({}, 0),
                    "comet::ReplayGate: num_experts is 0, expected at least 1");
  ReplayGate<double> gate = of(rows_of({{}}));
  CHECK_THROWS_WITH(gate.seek(-1), "comet::ReplayGate::seek: record is -1, expected at least 0");
  CHECK_THROWS_WITH(gate.seek(3),
                    "comet::ReplayGate::seek: record is 3, expected at most num_records = 2");
  CHECK_THROWS_WITH(AnyGate<double>(gate).freeze(),
                    ContainsSubstring("a replay gate cannot be frozen: its rows depend on"));
}
