// SPDX-License-Identifier: MIT
// Same seed, same bits, for any number of threads: forward, backward and training.
#include <vector>

#include <comet/core/thread_pool.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/optimizers/adam.hpp>

#include <support/catch.hpp>
#include <support/fixed_gate.hpp>
#include <support/model.hpp>
#include <support/two_task_model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

/// What two steps of training leave behind. 64 samples with 4 or more live experts of 64 x 96 are
/// more than 2^20 multiply-adds: what is less is not worth a second thread.
template <class Gate>
auto train(std::vector<Gate> gates, ThreadPool* pool, bool lazy) {
  using S = typename Gate::Scalar;
  const Index samples = 64;
  const std::int32_t num_users = 70;
  test::TwoTaskModel<Gate> model({.num_users = num_users,
                                  .num_items = 30,
                                  .embedding_dim = 32,
                                  .num_experts = 8,
                                  .expert_dim = 96,
                                  .head_dim = 9,
                                  .dropout = 0.5},
                                 std::move(gates), RandomKey(1), pool);
  Adam adam(model, {.learning_rate = 1e-2, .lazy = lazy}, pool);
  std::vector<S> trace;
  for (std::uint64_t step = 0; step < 2; ++step) {
    const RandomKey key = RandomKey(2).fold(step);
    std::vector<std::int32_t> users, items;
    Matrix<S> watched(1, samples), rating(1, samples);
    for (Index b = 0; b < samples; ++b) {
      users.push_back(std::int32_t(key.fold(0).index(std::uint64_t(b), num_users)));
      items.push_back(std::int32_t(key.fold(1).index(std::uint64_t(b), 30)));
      watched(0, b) = S(key.fold(2).index(std::uint64_t(b), 2));
      rating(0, b) = watched(0, b) * S(1 + key.fold(3).index(std::uint64_t(b), 5));
    }
    trace.push_back(model.backward(users, items, watched, rating, S(0.5), S(0.5), key.fold(4)));
    const auto gradients = test::values_of(model.gradients());
    trace.insert(trace.end(), gradients.begin(), gradients.end());
    adam.step(model, model.gradients());
  }
  const auto values = test::values_of(model);
  trace.insert(trace.end(), values.begin(), values.end());
  return trace;
}

template <class Gate>
void check_training(const std::vector<Gate>& gates, bool lazy) {
  const auto alone = train(gates, nullptr, lazy);
  for (const Index threads : {1, 2, 4}) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    CHECK(test::same_bits(train(gates, &pool, lazy), alone));
  }
}

}  // namespace

TEST_CASE("training with COMET gives the same bits for any number of threads", "[bits]") {
  std::vector<CometGate<float>> gates;
  for (std::uint64_t t = 0; t < 2; ++t)
    gates.emplace_back(
        CometGateOptions{.input_dim = 64, .num_experts = 8, .k = 4, .gamma = 0.1, .entropy = 0.1},
        RandomKey(t));
  check_training(gates, false);
}

TEST_CASE("training with Top-k and lazy Adam gives the same bits for any number of threads",
          "[bits]") {
  std::vector<TopKGate<double>> gates;
  for (std::uint64_t t = 0; t < 2; ++t)
    gates.emplace_back(TopKGateOptions{.input_dim = 64, .num_experts = 8, .k = 3, .noise = true},
                       RandomKey(t));
  check_training(gates, true);
}

TEST_CASE("Adam over a large model gives the same bits for any number of threads", "[bits]") {
  // More than 2^17 parameters: fewer are not worth a second thread.
  const Matrix<float> some = random_matrix<float>(17, 8000, 1);
  const auto run = [&](ThreadPool* pool, bool lazy) {
    Embedding<float> model({.num_ids = 8000, .output_dim = 17}, RandomKey(1));
    Adam adam(model, {.lazy = lazy}, pool);
    Gradients gradients(model);
    for (int step = 0; step < 2; ++step) {
      gradients[0] = some;
      for (Index c = step; c < 8000; c += 3) gradients[0].col(c).setZero();
      adam.step(model, gradients);
    }
    return test::values_of(model);
  };
  for (const bool lazy : {false, true}) {
    const auto alone = run(nullptr, lazy);
    for (const Index threads : {2, 4}) {
      ThreadPool pool(threads);
      CHECK(test::same_bits(run(&pool, lazy), alone));
    }
  }
}

TEST_CASE("a dense layer gives the same bits for any number of threads", "[bits]") {
  const Index d = 33, m = 140, samples = 261;
  REQUIRE(double(d * m * samples) >= detail::parallel_threshold);
  const Matrix<double> x = random_matrix<double>(d, samples, 1);
  const auto run = [&](ThreadPool* pool) {
    const Dense<double> layer({.input_dim = d, .output_dim = m, .activation = Activation::relu},
                              RandomKey(1));
    Pass pass(layer, pool);
    Matrix<double> y(m, samples), dy = random_matrix<double>(m, samples, 2);
    Matrix<double> dx = Matrix<double>::Zero(d, samples);
    layer.predict(x, y, pass);
    layer.backward(x, y, dy, dx, pass);
    std::vector<double> trace = test::gradients_of(layer, pass);
    trace.insert(trace.end(), y.data(), y.data() + y.size());
    trace.insert(trace.end(), dx.data(), dx.data() + dx.size());
    return trace;
  };
  const auto alone = run(nullptr);
  for (const Index threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    CHECK(test::same_bits(run(&pool), alone));
  }
}

TEST_CASE("a mixture gives the same bits for any number of threads, however it is loaded",
          "[bits]") {
  for (const test::Load load : {test::Load::random, test::Load::skewed, test::Load::full}) {
    CAPTURE(int(load));
    const Index samples = 131, n = 5, d = 64, m = 140;
    std::vector<test::FixedGate<float>> gates;
    std::vector<DenseExpert<float>> experts;
    for (std::uint64_t t = 0; t < 2; ++t)
      gates.emplace_back(n, test::make_routing<float>(load, n, samples, RandomKey(t)));
    for (std::uint64_t e = 0; e < std::uint64_t(n); ++e)
      experts.emplace_back(DenseExpertOptions{.input_dim = d, .output_dim = m, .dropout = 0.3},
                           RandomKey(7).fold(e));
    const Matrix<float> x = random_matrix<float>(d, samples, 1);
    const Matrix<float> dy = random_matrix<float>(m, 2 * samples, 2);
    const auto run = [&](ThreadPool* pool) {
      const MoeLayer layer(gates, experts);
      Pass pass(layer, pool);
      Matrix<float> y(m, 2 * samples), dx = Matrix<float>::Zero(d, samples);
      layer.predict(x, y, pass);
      std::vector<float> trace(y.data(), y.data() + y.size());
      layer.forward(x, y, RandomKey(3), pass);
      REQUIRE(double(pass.workspace.plan().num_columns() * d * m) >= detail::parallel_threshold);
      trace.insert(trace.end(), y.data(), y.data() + y.size());
      layer.backward(x, dy, dx, pass);
      trace.insert(trace.end(), dx.data(), dx.data() + dx.size());
      for (const auto& gate : layer.gates())
        trace.insert(trace.end(), gate.dweights().begin(), gate.dweights().end());
      const auto gradients = test::gradients_of(layer, pass);
      trace.insert(trace.end(), gradients.begin(), gradients.end());
      return trace;
    };
    const auto alone = run(nullptr);
    for (const Index threads : {1, 2, 4}) {
      ThreadPool pool(threads);
      CHECK(test::same_bits(run(&pool), alone));
    }
  }
}
