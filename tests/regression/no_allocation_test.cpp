// SPDX-License-Identifier: MIT
// Calls whose sizes were seen before allocate nothing, with and without threads, at sizes whose
// operands Eigen would pack on the heap if they were not taken in pieces.
#include <support/allocation_counter.hpp>

#include <vector>

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
  CHECK(count_allocations([] { std::free(std::malloc(10)); }) <= 1);  // may be optimised away
  CHECK(count_allocations([] {}) == 0);
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
    Adam<float> adam({.learning_rate = 1e-3}, &pool);
    std::vector<std::int32_t> users, items;
    for (std::int32_t b = 0; b < 60; ++b) {
      users.push_back(b % 50);
      items.push_back(b % 40);
    }
    const Matrix<float> watched = Matrix<float>::Ones(1, 60);
    const Matrix<float> rating = random_matrix<float>(1, 60, 3, 1, 5);
    const auto step = [&](std::uint64_t number) {
      model.backward(users, items, watched, rating, 0.5F, 0.5F, RandomKey(number));
      adam.step(model);
    };
    // The first step changes the parameters, and with them how many pairs are active.
    for (int i = 0; i < 2; ++i) step(7);
    CHECK(count_allocations([&] { step(7); }) == 0);
  }
}

TEMPLATE_TEST_CASE("a second predict() allocates nothing", "", COMET_TEST_SCALARS) {
  if (!test::can_count_allocations) return;
  using S = TestType;
  using Layer = MoeLayer<CometGate<S>, DenseExpert<S>>;
  for (const Index threads : {1, 2}) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    std::vector<DenseExpert<S>> experts;
    for (std::uint64_t e = 0; e < 8; ++e)
      experts.emplace_back(DenseExpertOptions{.input_dim = 256, .output_dim = 256}, RandomKey(e));
    const Layer layer({CometGate<S>({.input_dim = 256, .num_experts = 8}, RandomKey(1))}, experts);
    typename Layer::Workspace workspace(&pool);
    const Matrix<S> x = random_matrix<S>(256, 101, 2);
    Matrix<S> y(256, 101);
    layer.predict(x, y, workspace);
    CHECK(count_allocations([&] { layer.predict(x, y, workspace); }) == 0);
    // Fewer samples need no more.
    const auto fewer = x.leftCols(77);
    auto fewer_y = y.leftCols(77);
    CHECK(count_allocations([&] { layer.predict(fewer, fewer_y, workspace); }) == 0);
  }
}
