// SPDX-License-Identifier: MIT
// Scalar functions, softmax and losses at the edges of float and double; float against double.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <limits>
#include <span>
#include <vector>

#include <comet/core/errors.hpp>
#include <comet/core/random.hpp>
#include <comet/kernels/functions.hpp>
#include <comet/kernels/softmax.hpp>
#include <comet/losses/binary_cross_entropy.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/losses/router_z.hpp>
#include <comet/losses/softmax_cross_entropy.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>
#include <support/reference.hpp>

using namespace comet;
namespace reference = comet::test::reference;

namespace {

/// Both signs of: 0, the smallest numbers, 1 and its neighbours, large ones, the largest.
template <class S>
std::vector<S> edges() {
  using Limits = std::numeric_limits<S>;
  std::vector<S> values;
  for (const S value : {S(0), Limits::denorm_min(), Limits::min(), Limits::epsilon(), S(0.5),
                        std::nextafter(S(0.5), S(0)), S(1), S(88), S(89), S(709), S(710), S(1e18),
                        S(1e30), Limits::max()}) {
    values.push_back(value);
    values.push_back(-value);
  }
  return values;
}

}  // namespace

TEMPLATE_TEST_CASE("scalar functions stay in their range at the edges", "", COMET_TEST_SCALARS) {
  using S = TestType;
  for (const S t : edges<S>()) {
    CAPTURE(t);
    CHECK((sigmoid(t) >= S(0) && sigmoid(t) <= S(1)));
    CHECK((softplus(t) >= std::max(t, S(0)) && std::isfinite(softplus(t))));
    for (const double width : {1e-300, 1e-40, 1e-6, 1.0, 1e6, 1e300}) {
      const S gamma = S(width);  // 0 or infinite in float for some: still no nan
      const S s = smooth_step(t, gamma);
      CAPTURE(gamma, s);
      CHECK((s >= S(0) && s <= S(1)));
      CHECK(smooth_step_derivative(t, gamma) >= S(0));
      if (gamma > S(0)) CHECK(s + smooth_step(-t, gamma) == Approx(1));
    }
  }
  for (const S p : {S(0), std::numeric_limits<S>::denorm_min(), S(1e-6), S(0.5), S(1)}) {
    CHECK(std::isfinite(entropy_term(p)));
    CHECK(std::isfinite(entropy_term_derivative(p)));
  }
}

TEMPLATE_TEST_CASE("the smooth-step rises from 0 to 1 without a step back", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  for (const double width : {1e-3, 1.0, 1e3}) {
    const S gamma = S(width);
    S last = 0;
    constexpr int points = 5000;
    for (int i = 0; i <= points; ++i) {
      const S s = smooth_step(gamma * (S(i) / S(points) - S(0.5)), gamma);
      CHECK_FALSE(s < last);
      last = s;
    }
    CHECK(last == S(1));
    // Next to the ends it is small but exact: 3 v^2 for a distance of v.
    const S inside = std::nextafter(-gamma / 2, S(0));
    const S v = S(0.5) - std::abs(inside / gamma);
    CHECK(smooth_step(inside, gamma) == Approx(3 * v * v).epsilon(1e-4));
    CHECK(smooth_step_derivative(gamma / 2, gamma) == S(0));
  }
}

TEMPLATE_TEST_CASE("softmax and its losses are finite or refused, never nan", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const std::vector<S> values = edges<S>();
  const std::vector<std::int32_t> classes = {0};
  for (const S a : values)
    for (const S b : values) {
      CAPTURE(a, b);
      Matrix<S> logits(3, 1), gradient(3, 1);
      logits << a, b, a;
      Matrix<S> p(3, 1);
      detail::softmax(logits.data(), 3, p.data());
      CHECK((p.minCoeff() >= S(0) && std::abs(p.sum() - S(1)) <= S(1e-6)));
      const auto finite_or_refused = [&](auto loss) {
        try {
          const auto value = double(loss());
          CHECK((std::isfinite(value) && gradient.allFinite()));
        } catch (const NotFinite& refused) {
          CHECK_THAT(refused.what(), ContainsSubstring("overflows"));
        }
      };
      finite_or_refused([&] {
        return softmax_cross_entropy(logits, std::span<const std::int32_t>(classes), gradient);
      });
      finite_or_refused([&] { return router_z(logits, gradient); });
      const Matrix<S> targets = Matrix<S>::Constant(3, 1, S(1));
      finite_or_refused([&] { return binary_cross_entropy(logits, targets, gradient); });
      finite_or_refused([&] { return mean_squared_error(logits, targets, gradient); });
      finite_or_refused([&] { return mean_squared_error(logits, targets, targets, gradient); });
    }
}

TEST_CASE("float against long double: the error of functions and gates is bounded") {
  double step_error = 0, sigmoid_error = 0, gate_error = 0;
  const RandomKey key(9);
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const auto t = static_cast<float>(key.uniform(i, -0.5, 0.5));
    step_error =
        std::max(step_error, double(std::abs(reference::Real(smooth_step(t, 1.0F)) -
                                             reference::smooth_step(reference::Real(t), 1))));
    const float wide = 40 * t;
    const double exact = 1 / (1 + std::exp(-double(wide)));
    sigmoid_error = std::max(sigmoid_error, std::abs(double(sigmoid(wide)) - exact) / exact);
  }
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    CometGate<float> gate({.input_dim = 16, .num_experts = 16, .k = 2}, key.fold(seed));
    const auto x = test::random_matrix<float>(16, 32, seed, -2, 2);
    test::parameter(gate, "split.weight") *= 20.0F;  // about half of all splits are saturated
    Pass pass(gate);
    Routing<float> routing;
    gate.route(x, routing, pass);
    const Matrix<double> error = routing.dense(16).cast<double>() - reference::weights(gate, x);
    gate_error = std::max(gate_error, error.cwiseAbs().maxCoeff());
  }
  std::cout << "float against long double: smooth-step " << step_error << ", sigmoid (relative) "
            << sigmoid_error << ", COMET weights " << gate_error << '\n';
  CHECK(step_error <= 2e-7);
  CHECK(sigmoid_error <= 3e-7);
  CHECK(gate_error <= 1e-5);
}
