// SPDX-License-Identifier: MIT
// Calls whose sizes were seen before allocate nothing, with and without threads, at sizes whose
// operands Eigen would pack on the heap if they were not taken in pieces.
#include <support/allocation_counter.hpp>

#include <cstdint>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/dispatch/combine.hpp>
#include <comet/experts/bank.hpp>
#include <comet/experts/gated_mlp.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/optimizers/adam.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>
#include <support/two_task_model.hpp>

using namespace comet;
using comet::test::count_allocations;
using comet::test::random_matrix;

TEST_CASE("the counter sees operator new, malloc and Eigen's matrices") {
  if (!test::can_count_allocations) return;
  const void* volatile seen = nullptr;  // or the compiler leaves the allocation out
  CHECK(count_allocations([&] {
          std::vector<int> v(100);
          seen = v.data();
        }) >= 1);
  CHECK(count_allocations([&] {
          Matrix<double> m(10, 10);
          seen = m.data();
        }) >= 1);
  CHECK(count_allocations([&] {
          seen = std::malloc(10);
          std::free(const_cast<void*>(seen));
        }) == 1);
  CHECK(count_allocations([] {}) == 0);
}

TEST_CASE("a buffer has room to spare once it has grown") {
  if (!test::can_count_allocations) return;
  Buffer<float> buffer;
  CHECK(count_allocations([&] { buffer.shape(100, 100); }) == 1);
  CHECK(count_allocations([&] { buffer.shape(100, 101); }) == 1);  // nothing was to spare
  CHECK(count_allocations([&] { buffer.shape(100, 126); }) == 0);
  CHECK(count_allocations([&] { buffer.shape(1, 1); }) == 0);
  auto all = buffer.shape(100, 126);
  all.setConstant(2);
  CHECK(buffer.matrix().sum() == 2 * 100 * 126);
}

TEMPLATE_TEST_CASE("a second training step of the same sizes allocates nothing", "",
                   CometGate<float>, TopKGate<float>) {
  if (!test::can_count_allocations) return;
  using Gate = TestType;
  for (const Index threads : {1, 2}) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    std::vector<Gate> gates;
    for (std::uint64_t t = 0; t < 2; ++t) {
      if constexpr (std::is_same_v<Gate, CometGate<float>>) {
        gates.emplace_back(CometGateOptions{.input_dim = 256, .num_experts = 8, .entropy = 0.1},
                           RandomKey(t));
      } else {
        gates.emplace_back(TopKGateOptions{.input_dim = 256, .num_experts = 8, .noise = true},
                           RandomKey(t));
      }
    }
    test::TwoTaskModel<Gate> model({.num_users = 50,
                                    .num_items = 40,
                                    .embedding_dim = 128,
                                    .num_experts = 8,
                                    .expert_dim = 256,
                                    .head_dim = 256,
                                    .dropout = 0.5},
                                   gates, RandomKey(1), &pool);
    Adam adam(model, {.learning_rate = 1e-3}, &pool);
    std::vector<std::int32_t> users, items;
    for (std::int32_t b = 0; b < 60; ++b) {
      users.push_back(b % 50);
      items.push_back(b % 40);
    }
    const Matrix<float> watched = Matrix<float>::Ones(1, 60);
    const Matrix<float> rating = random_matrix<float>(1, 60, 3, 1, 5);
    const auto step = [&](std::uint64_t number) {
      model.backward(users, items, watched, rating, 0.5F, 0.5F, RandomKey(number));
      adam.step(model, model.gradients());
    };
    // The first step changes the parameters, and with them how many pairs are active.
    for (int i = 0; i < 2; ++i) step(7);
    CHECK(count_allocations([&] { step(7); }) == 0);
  }
}

TEMPLATE_TEST_CASE("a second step of a masked batch allocates nothing", "", CometGate<float>,
                   TopKGate<float>) {
  if (!test::can_count_allocations) return;
  const MoeLayer layer(
      TestType({.input_dim = 64, .num_experts = 8, .k = 2}, RandomKey(1)),
      make_experts<GatedMlpExpert<float>>(8, {.input_dim = 64, .hidden_dim = 100, .output_dim = 32},
                                          RandomKey(2)));
  for (const Index threads : {1, 2}) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    Pass pass(layer, &pool);
    const Matrix<float> x = random_matrix<float>(64, 200, 2);
    const Matrix<float> dy = random_matrix<float>(32, 200, 3);
    Matrix<float> y(32, 200), dx = Matrix<float>::Zero(64, 200);
    std::vector<std::uint8_t> mask(200, 1);
    for (std::size_t b = 0; b < 200; b += 3) mask[b] = 0;
    const auto step = [&] {
      layer.forward(Samples{x, {}, mask}, y, RandomKey(4), pass);
      layer.backward(Samples{x, {}, mask}, dy, dx, pass);
    };
    step();
    CHECK(count_allocations(step) == 0);
    // More padding needs no more.
    for (std::size_t b = 0; b < 200; b += 2) mask[b] = 0;
    CHECK(count_allocations(step) == 0);
  }
}

TEST_CASE("a second pass through stages and two banks allocates nothing") {
  if (!test::can_count_allocations) return;
  const Index n = 6, d = 64, m = 32, num_samples = 150;
  const auto experts = make_experts<MlpExpert<float>>(
      n, {.input_dim = d, .hidden_dim = 50, .output_dim = m}, RandomKey(2));
  const ExpertBank left(std::vector(experts.begin(), experts.begin() + 2));
  const ExpertBank right(std::vector(experts.begin() + 2, experts.end()), 2);
  const TopKGate<float> gate({.input_dim = d, .num_experts = n, .k = 2}, RandomKey(1));
  for (const Index threads : {1, 2}) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    Pass gate_pass(gate, &pool);
    Pass left_pass(left, &pool), right_pass(right, &pool);
    const Matrix<float> x = random_matrix<float>(d, num_samples, 2);
    const Matrix<float> dy = random_matrix<float>(m, num_samples, 3);
    Matrix<float> y(m, num_samples), dx = Matrix<float>::Zero(d, num_samples);
    Routing<float> routing;
    DispatchPlan plan;
    Columns<float> columns, outputs, doutputs, dcolumns;
    AlignedVector<float> dweights;
    const auto step = [&] {
      gate.forward(x, routing, RandomKey(5), gate_pass);
      plan.build(routing, n);
      gather(x, plan, columns, &pool);
      left.forward(plan, columns, outputs, RandomKey(6), left_pass);
      right.forward(plan, columns, outputs, RandomKey(6), right_pass);
      combine(outputs, plan, routing, y, &pool);
      spread(dy, plan, routing, outputs, doutputs, dweights, &pool);
      left.backward(plan, columns, outputs, doutputs, dcolumns, left_pass);
      right.backward(plan, columns, outputs, doutputs, dcolumns, right_pass);
      gather_back(dcolumns, plan, dx, &pool);
      gate.backward(x, routing, dweights, dx, gate_pass);
    };
    step();
    CHECK(count_allocations(step) == 0);
  }
}

TEMPLATE_TEST_CASE("a second predict() allocates nothing", "", COMET_TEST_SCALARS) {
  if (!test::can_count_allocations) return;
  using S = TestType;
  for (const Index threads : {1, 2}) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    const MoeLayer layer(
        CometGate<S>({.input_dim = 256, .num_experts = 8}, RandomKey(1)),
        make_experts<DenseExpert<S>>(8, {.input_dim = 256, .output_dim = 256}, RandomKey(2)));
    Pass pass(layer, &pool);
    const Matrix<S> x = random_matrix<S>(256, 101, 2);
    Matrix<S> y(256, 101);
    layer.predict(x, y, pass);
    CHECK(count_allocations([&] { layer.predict(x, y, pass); }) == 0);
    // Fewer samples need no more.
    const auto fewer = x.leftCols(77);
    auto fewer_y = y.leftCols(77);
    CHECK(count_allocations([&] { layer.predict(fewer, fewer_y, pass); }) == 0);
  }
}
