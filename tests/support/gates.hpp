// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>

/// \file
/// \brief What every gate promises, as plain checks.

namespace comet::test {

/// \brief The entries of an n x B matrix that a routing has, in the routing's order.
template <class S>
[[nodiscard]] std::vector<S> entries(const Routing<S>& routing, const Matrix<S>& dense) {
  std::vector<S> values;
  for (Index b = 0; b < routing.num_samples(); ++b)
    for (const ExpertId e : routing.experts(b)) values.push_back(dense(e, b));
  return values;
}

/// \brief Weights >= 0 that sum to 1 (or at most 1), experts ascending, at most `longest` per row.
template <class S>
void check_rows(const Routing<S>& routing, Index num_experts, Index num_samples, Index longest,
                bool sums_to_one = true) {
  REQUIRE(routing.num_samples() == num_samples);
  REQUIRE_NOTHROW(routing.validate("test", num_experts, num_samples));
  const S rounding = S(8) * S(num_experts) * std::numeric_limits<S>::epsilon();
  for (Index b = 0; b < num_samples; ++b) {
    CHECK(Index(routing.experts(b).size()) <= longest);
    S sum = 0;
    bool not_negative = true;
    for (const S weight : routing.weights(b)) {
      not_negative = not_negative && weight >= S(0);
      sum += weight;
    }
    CHECK(not_negative);
    CHECK(sum <= S(1) + rounding);
    if (sums_to_one) CHECK(sum >= S(1) - rounding);
  }
}

/// \brief Gradients of sum(upstream . weights) + regularization, through forward() and backward().
template <class Gate>
void add_gradients(Gate& gate, const Matrix<typename Gate::Scalar>& x,
                   const Matrix<typename Gate::Scalar>& upstream, Matrix<typename Gate::Scalar>& dx,
                   ThreadPool* pool = nullptr) {
  using S = typename Gate::Scalar;
  typename Gate::Workspace workspace(pool);
  Routing<S> routing;
  gate.forward(x, routing, RandomKey(5), workspace);
  const std::vector<S> dweights = entries(routing, upstream);
  gate.backward(x, routing, std::span<const S>(dweights), dx, workspace);
}

/// \brief A sample is routed to the same bits alone, in any part of its batch, and at any address.
template <class Gate>
void check_batch_invariance(const Gate& gate, const Matrix<typename Gate::Scalar>& x) {
  using S = typename Gate::Scalar;
  typename Gate::Workspace workspace;
  Routing<S> all, part;
  gate.route(x, all, workspace);
  const auto same_rows = [&](Index first, Index count) {
    bool same = part.num_samples() == count;
    for (Index b = 0; same && b < count; ++b) {
      const auto whole = all.weights(first + b);
      const auto one = part.weights(b);
      same = std::equal(one.begin(), one.end(), whole.begin(), whole.end()) &&
             std::equal(part.experts(b).begin(), part.experts(b).end(),
                        all.experts(first + b).begin(), all.experts(first + b).end());
    }
    return same;
  };
  for (Index b = 0; b < x.cols(); ++b) {
    gate.route(x.col(b), part, workspace);
    CHECK(same_rows(b, 1));
  }
  for (Index first = 1, count = 2; first + count <= x.cols(); first += 3, ++count) {
    gate.route(x.middleCols(first, count), part, workspace);
    CHECK(same_rows(first, count));
  }
  // Every offset from an aligned address, with a gap between columns.
  const Index stride = x.rows() + 3;
  for (Index offset = 0; offset < 8; ++offset) {
    std::vector<S> memory(std::size_t(offset + stride * x.cols()));
    Eigen::Map<Matrix<S>, 0, Eigen::OuterStride<>> moved(memory.data() + offset, x.rows(), x.cols(),
                                                         Eigen::OuterStride<>(stride));
    moved = x;
    gate.route(moved, part, workspace);
    CHECK(same_rows(0, x.cols()));
  }
}

/// \brief Gradients accumulate, copies are independent, and a backward() that does not follow a
/// forward() of the same batch is refused.
template <class Gate>
void check_training_protocol(const Gate& original, const Matrix<typename Gate::Scalar>& x) {
  using S = typename Gate::Scalar;
  Gate gate = original;
  const Matrix<S> upstream = random_matrix<S>(gate.num_experts(), x.cols(), 77);
  Matrix<S> dx = Matrix<S>::Zero(x.rows(), x.cols());
  add_gradients(gate, x, upstream, dx);
  const std::vector<S> once = gradients_of(gate);
  const Matrix<S> dx_once = dx;
  add_gradients(gate, x, upstream, dx);
  const std::vector<S> twice = gradients_of(gate);
  for (std::size_t i = 0; i < once.size(); ++i)
    CHECK(std::abs(twice[i] - 2 * once[i]) <= S(1e-4) * std::max(S(1), std::abs(once[i])));
  CHECK((dx - 2 * dx_once).cwiseAbs().maxCoeff() <= S(1e-4));

  // Without dx the parameters' gradients are the same bits.
  Gate without_dx = original;
  Matrix<S> none(0, 0);
  add_gradients(without_dx, x, upstream, none);
  CHECK(same_bits(gradients_of(without_dx), once));

  Gate untouched = original;
  for (const S g : gradients_of(untouched)) CHECK(g == S(0));
  Gate copy = original;
  const auto before = values_of(untouched);
  copy.visit_parameters([](const ParameterName&, auto& values, auto&) { values.setConstant(3); });
  CHECK(same_bits(values_of(untouched), before));

  typename Gate::Workspace workspace;
  Routing<S> routing;
  const auto backward = [&](const Matrix<S>& input) {
    const std::vector<S> dweights(std::size_t(routing.num_entries()), S(1));
    gate.backward(input, routing, std::span<const S>(dweights), none, workspace);
  };
  const auto refuses =
      Catch::Contains("::backward: the workspace holds no forward(); call it first");
  CHECK_THROWS_WITH(backward(x), refuses);
  gate.route(x, routing, workspace);
  CHECK_THROWS_WITH(backward(x), refuses);
  gate.forward(x, routing, RandomKey(1), workspace);
  CHECK_NOTHROW(backward(x));
  gate.route(x, routing, workspace);
  CHECK_THROWS_WITH(backward(x), refuses);
  gate.forward(x, routing, RandomKey(1), workspace);
  const Matrix<S> fewer = x.leftCols(x.cols() - 1);
  CHECK_THROWS_WITH(backward(fewer), Catch::Contains("::backward: x.cols() is ") &&
                                         Catch::Contains("expected samples of the last forward()"));
  const std::vector<S> too_few(std::size_t(routing.num_entries() - 1), S(1));
  CHECK_THROWS_WITH(gate.backward(x, routing, std::span<const S>(too_few), none, workspace),
                    Catch::Contains("::backward: dweights.size() is ") &&
                        Catch::Contains("expected routing.num_entries() = "));
  // A forward() that failed leaves nothing behind.
  Matrix<S> bad = x;
  bad(0, 0) = std::numeric_limits<S>::quiet_NaN();
  CHECK_THROWS_AS(gate.forward(bad, routing, RandomKey(1), workspace), std::invalid_argument);
  CHECK_THROWS_WITH(backward(x), refuses);
  // A dx of the wrong shape would be written out of bounds.
  gate.forward(x, routing, RandomKey(1), workspace);
  const std::vector<S> dweights(std::size_t(routing.num_entries()), S(1));
  Matrix<S> short_dx = Matrix<S>::Zero(x.rows() + 1, x.cols());
  CHECK_THROWS_WITH(
      gate.backward(x, routing, std::span<const S>(dweights), short_dx, workspace),
      Catch::Contains("::backward: dx.rows() is ") && Catch::Contains("expected x.rows() = "));
}

/// \brief nan and inf in x are named with their position, a wrong shape with the bound.
template <class Gate>
void check_input_errors(const Gate& gate, const std::string& name) {
  using S = typename Gate::Scalar;
  typename Gate::Workspace workspace;
  Routing<S> routing;
  const Index d = gate.input_dim();
  CHECK_THROWS_WITH(gate.route(Matrix<S>::Zero(d + 1, 2), routing, workspace),
                    "comet::" + name + "::route: x.rows() is " + std::to_string(d + 1) +
                        ", expected input_dim = " + std::to_string(d));
  CHECK_THROWS_WITH(gate.forward(Matrix<S>::Zero(d + 1, 2), routing, RandomKey(1), workspace),
                    "comet::" + name + "::forward: x.rows() is " + std::to_string(d + 1) +
                        ", expected input_dim = " + std::to_string(d));
  Matrix<S> x = Matrix<S>::Zero(d, 3);
  x(d - 1, 2) = std::numeric_limits<S>::quiet_NaN();
  const std::string place = "(" + std::to_string(d - 1) + ", 2)";
  CHECK_THROWS_WITH(gate.route(x, routing, workspace),
                    "comet::" + name + "::route: x" + place + " is nan, expected a finite number");
  x(d - 1, 2) = -std::numeric_limits<S>::infinity();
  CHECK_THROWS_WITH(
      gate.forward(x, routing, RandomKey(1), workspace),
      "comet::" + name + "::forward: x" + place + " is -inf, expected a finite number");
  // The workspace is good for the next batch.
  x.setZero();
  CHECK_NOTHROW(gate.route(x, routing, workspace));
  CHECK(routing.num_samples() == 3);
}

/// \brief Same bits for every number of threads, forward and backward. x has to be large enough
/// for the pool to be used at all.
template <class Gate>
void check_thread_invariance(const Gate& original, const Matrix<typename Gate::Scalar>& x) {
  using S = typename Gate::Scalar;
  const Matrix<S> upstream = random_matrix<S>(original.num_experts(), x.cols(), 78);
  std::vector<S> weights, gradients;
  Matrix<S> input_gradient;
  for (const Index threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    Gate gate = original;
    typename Gate::Workspace workspace(&pool);
    Routing<S> routing;
    gate.route(x, routing, workspace);
    const std::vector<S> now(routing.weights().begin(), routing.weights().end());
    Matrix<S> dx = Matrix<S>::Zero(x.rows(), x.cols());
    add_gradients(gate, x, upstream, dx, &pool);
    if (threads == 1) {
      weights = now;
      gradients = gradients_of(gate);
      input_gradient = dx;
    }
    CHECK(same_bits(now, weights));
    CHECK(same_bits(gradients_of(gate), gradients));
    CHECK(same_bits(dx, input_gradient));
  }
}

}  // namespace comet::test
