// SPDX-License-Identifier: MIT
// The mixture for random sizes and routings against plain loops over every expert, and one constant
// model that eight threads ask at once.
#include <cmath>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/core/routing.hpp>
#include <comet/dispatch/plan.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/moe_layer.hpp>

#include <support/catch.hpp>
#include <support/dense_reference.hpp>
#include <support/fixed_gate.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

std::vector<DenseExpert<double>> dense_experts(Index n, Index d, Index m, RandomKey key) {
  return make_experts<DenseExpert<double>>(n, {.input_dim = d, .output_dim = m}, key);
}

Index draw(RandomKey key, std::uint64_t counter, Index low, Index high) {
  return low + Index(key.index(counter, std::uint64_t(high - low + 1)));
}

double difference(const Matrix<double>& a, const Matrix<double>& b) {
  REQUIRE(a.rows() == b.rows());
  REQUIRE(a.cols() == b.cols());
  return a.size() == 0 ? 0 : (a - b).cwiseAbs().maxCoeff();
}

}  // namespace

TEST_CASE("the layer is the dense mixture, forward and backward, for any routing") {
  const int seed = GENERATE(range(0, 50));
  const RandomKey key = RandomKey(4).fold(seed);
  const Index n = draw(key, 0, 1, 9), d = draw(key, 1, 1, 7), m = draw(key, 2, 1, 6);
  const Index samples = draw(key, 3, 0, 40), tasks = draw(key, 4, 1, 3);
  const auto load = test::Load(key.index(5, 5));
  const double scale = std::pow(10.0, key.uniform(6, -8, 8));
  CAPTURE(seed, n, d, m, samples, tasks, int(load), scale);

  std::vector<test::FixedGate<double>> gates;
  std::vector<Matrix<double>> dense;
  for (Index t = 0; t < tasks; ++t) {
    gates.emplace_back(n, test::make_routing<double>(load, n, samples, key.fold(t)));
    dense.push_back(gates.back().routing().dense(n));
  }
  const MoeLayer layer(gates, dense_experts(n, d, m, key.fold(9)));
  const test::DenseReference<double> reference(layer.experts());
  Matrix<double> x = random_matrix<double>(d, samples, key.value(), -scale, scale);
  if (samples > 1) x.col(0).setZero();  // ties at the kink of every ReLU without a bias
  const auto dy = random_matrix<double>(m, tasks * samples, key.fold(10).value());

  Matrix<double> y(m, tasks * samples);
  Matrix<double> dx = Matrix<double>::Zero(d, samples);
  Pass pass(layer);
  layer.forward(x, y, key.fold(11), pass);
  layer.backward(x, dy, dx, pass);

  const double margin = 1e-13 * double(n * d) * std::max(scale, 1.0) * double(samples + 1);
  CHECK(difference(y, reference.forward(x, dense)) <= margin);
  const auto expected = reference.backward(x, dense, dy);
  CHECK(difference(dx, expected.x) <= margin);
  for (Index e = 0; e < n; ++e) {
    const std::string name = "experts." + std::to_string(e);
    CHECK(difference(test::gradient(layer, pass, name + ".weight"),
                     expected.weights[std::size_t(e)]) <= margin);
    CHECK(difference(test::gradient(layer, pass, name + ".bias"),
                     expected.biases[std::size_t(e)]) <= margin);
  }
  for (Index t = 0; t < tasks; ++t) {
    const auto& gate = layer.gates()[std::size_t(t)];
    const Routing<double>& routing = gate.routing();
    std::size_t entry = 0;
    for (Index b = 0; b < samples; ++b)
      for (std::size_t i = 0; i < routing.experts(b).size(); ++i, ++entry)
        if (routing.weights(b)[i] != 0)  // what is not evaluated has no derivative
          CHECK(std::abs(gate.dweights()[entry] -
                         expected.gates[std::size_t(t)](routing.experts(b)[i], b)) <= margin);
  }
}

TEST_CASE("eight threads ask one constant model at once, and each gets the answer of one alone") {
  const Index n = 8, d = 6, samples = 33;
  const RandomKey key(5);
  std::vector<CometGate<double>> gates;
  for (Index t = 0; t < 2; ++t)
    gates.emplace_back(CometGateOptions{.input_dim = d, .num_experts = n}, key.fold(t));
  const MoeLayer layer(std::move(gates), dense_experts(n, d, 5, key.fold(7)));
  const auto answer = [&](std::uint64_t question) {
    const auto x = random_matrix<double>(d, samples, question);
    Matrix<double> y(layer.output_dim(), 2 * samples);
    Pass pass(layer);
    layer.predict(x, y, pass);
    return y;
  };
  constexpr std::size_t num_threads = 8;
  constexpr std::uint64_t questions = 5;
  std::vector<std::vector<Matrix<double>>> answers(num_threads);
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < num_threads; ++thread)
    threads.emplace_back([&, thread] {
      for (std::uint64_t q = 0; q < questions; ++q)
        answers[thread].push_back(answer(q + thread % 2));
    });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t thread = 0; thread < num_threads; ++thread)
    for (std::uint64_t q = 0; q < questions; ++q)
      CHECK(test::same_bits(answers[thread][q], answer(q + thread % 2)));
}

TEST_CASE("eight threads train one constant model at once, each with the gradients of one alone") {
  const Index n = 6, d = 5, m = 4, samples = 33;
  const RandomKey key(6);
  const MoeLayer layer(
      CometGate<double>({.input_dim = d, .num_experts = n, .k = 2, .entropy = 0.1}, key.fold(0)),
      make_experts<DenseExpert<double>>(n, {.input_dim = d, .output_dim = m, .dropout = 0.3},
                                        key.fold(1)));
  const auto gradients = [&](std::uint64_t question) {
    const auto x = random_matrix<double>(d, samples, question);
    const auto dy = random_matrix<double>(m, samples, question + 100);
    Matrix<double> y(m, samples), dx = Matrix<double>::Zero(d, samples);
    Pass pass(layer);
    for (std::uint64_t step = 0; step < 3; ++step) {
      layer.forward(x, y, key.fold(question).fold(step), pass);
      layer.backward(x, dy, dx, pass);
    }
    auto all = test::gradients_of(layer, pass);
    all.insert(all.end(), dx.data(), dx.data() + dx.size());
    return all;
  };
  constexpr std::size_t num_threads = 8;
  std::vector<std::vector<double>> found(num_threads);
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < num_threads; ++thread)
    threads.emplace_back([&, thread] { found[thread] = gradients(thread % 3); });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t thread = 0; thread < num_threads; ++thread)
    CHECK(test::same_bits(found[thread], gradients(thread % 3)));
}
