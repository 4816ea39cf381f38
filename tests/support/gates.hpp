// SPDX-License-Identifier: MIT
#pragma once

#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/testing/gate_laws.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>

/// \file
/// \brief What tests of gates share. The laws of gates are public: testing/gate_laws.hpp.

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

/// \brief A batch's routing.
template <class Gate>
[[nodiscard]] Routing<typename Gate::Scalar> routed(
    const Gate& gate, const std::type_identity_t<Samples<typename Gate::Scalar>>& samples) {
  Pass<Gate> pass(gate);
  Routing<typename Gate::Scalar> routing;
  gate.route(samples, routing, pass);
  return routing;
}

/// \brief Adds gradients of sum(upstream . weights) + regularization to those of the pass and to
/// dx, through forward() and backward().
template <class Gate>
void add_gradients(const Gate& gate,
                   const std::type_identity_t<Samples<typename Gate::Scalar>>& samples,
                   const Matrix<typename Gate::Scalar>& upstream,
                   MatrixView<std::type_identity_t<typename Gate::Scalar>> dx, Pass<Gate>& pass) {
  Routing<typename Gate::Scalar> routing;
  gate.forward(samples, routing, RandomKey(5), pass);
  const auto dweights = entries(routing, upstream);
  gate.backward(samples, routing, dweights, dx, pass);
}

/// \brief The laws of gates, each that is broken a failure.
template <class Gate>
void check_laws(const Gate& gate,
                const std::type_identity_t<testing::GateLawOptions<Gate>>& options = {}) {
  for (const auto& broken : testing::check_gate_laws(gate, options)) FAIL_CHECK(broken);
}

}  // namespace comet::test
