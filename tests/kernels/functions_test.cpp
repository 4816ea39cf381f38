// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>

#include <comet/kernels/functions.hpp>

#include <support/catch.hpp>

using comet::entropy_term;
using comet::entropy_term_derivative;
using comet::sigmoid;
using comet::smooth_step;
using comet::smooth_step_derivative;
using comet::softplus;

namespace {

template <class F>
double central_difference(F f, double t, double step = 1e-6) {
  return (f(t + step) - f(t - step)) / (2 * step);
}

}  // namespace

TEMPLATE_TEST_CASE("smooth-step is exactly 0 and 1 outside its width, and 1/2 in the middle", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  for (const S gamma : {S(0.01), S(0.5), S(1), S(10)}) {
    CAPTURE(gamma);
    const S infinity = std::numeric_limits<S>::infinity();
    CHECK(smooth_step(-gamma / 2, gamma) == S(0));
    CHECK(smooth_step(gamma / 2, gamma) == S(1));
    CHECK(smooth_step(S(-1e6), gamma) == S(0));
    CHECK(smooth_step(S(1e6), gamma) == S(1));
    CHECK(smooth_step(-infinity, gamma) == S(0));
    CHECK(smooth_step(infinity, gamma) == S(1));
    CHECK(smooth_step(S(0), gamma) == S(0.5));
    CHECK(smooth_step_derivative(-gamma / 2, gamma) == S(0));
    CHECK(smooth_step_derivative(gamma / 2, gamma) == S(0));
    CHECK(smooth_step_derivative(S(1e6), gamma) == S(0));
    CHECK(smooth_step_derivative(S(0), gamma) == Approx(S(1.5) / gamma));

    S previous = 0;
    bool rises = true, inside = true;
    for (int i = -1000; i <= 1000; ++i) {
      const S value = smooth_step(gamma * S(i) / S(1990), gamma);
      inside = inside && value >= S(0) && value <= S(1);
      rises = rises && value >= previous;
      previous = value;
    }
    CHECK(inside);
    CHECK(rises);
  }
}

TEST_CASE("smooth-step is the cubic of the paper") {
  const double gamma = 0.8;
  for (double t = -0.39; t < 0.4; t += 0.03) {
    CAPTURE(t);
    CHECK(smooth_step(t, gamma) ==
          Approx(-2 * t * t * t / (gamma * gamma * gamma) + 3 * t / (2 * gamma) + 0.5));
    CHECK(smooth_step_derivative(t, gamma) ==
          Approx(central_difference([&](double u) { return smooth_step(u, gamma); }, t))
              .epsilon(1e-6)
              .margin(1e-8));
    CHECK(smooth_step(-t, gamma) == Approx(1 - smooth_step(t, gamma)));
  }
}

TEST_CASE("sigmoid and softplus neither overflow nor lose small numbers") {
  CHECK(sigmoid(0.0) == 0.5);
  CHECK(sigmoid(800.0) == 1.0);
  CHECK(sigmoid(-800.0) == 0.0);
  CHECK(sigmoid(-700.0) > 0.0);
  CHECK(sigmoid(-40.0) == Approx(std::exp(-40.0)));
  CHECK(softplus(0.0) == Approx(std::log(2.0)));
  CHECK(softplus(800.0) == 800.0);
  CHECK(softplus(-40.0) == Approx(std::exp(-40.0)));
  CHECK(softplus(-800.0) == 0.0);
  CHECK(softplus(100.0F) == 100.0F);
  for (double t = -5; t <= 5; t += 0.7) {
    CHECK(sigmoid(t) + sigmoid(-t) == Approx(1));
    CHECK(central_difference([](double u) { return softplus(u); }, t) ==
          Approx(sigmoid(t)).epsilon(1e-6));
  }
  CHECK(std::isnan(sigmoid(std::nan(""))));
  CHECK(std::isnan(softplus(std::nan(""))));
}

TEST_CASE("entropy of a probability is finite everywhere, with its derivative") {
  CHECK(entropy_term(0.0) == 0.0);
  CHECK(std::abs(entropy_term(1.0)) < 2e-6);
  CHECK(entropy_term(0.5) == Approx(-0.5 * std::log(0.5)).epsilon(1e-5));
  CHECK(std::isfinite(entropy_term_derivative(0.0)));
  CHECK(entropy_term_derivative(0.0) == Approx(-std::log(1e-6)));
  for (double p = 0.05; p < 1; p += 0.1)
    CHECK(entropy_term_derivative(p) ==
          Approx(central_difference([](double q) { return entropy_term(q); }, p))
              .epsilon(1e-6)
              .margin(1e-8));
}
