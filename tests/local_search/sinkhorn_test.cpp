// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/local_search/annealing.hpp>
#include <comet/local_search/assignment.hpp>
#include <comet/local_search/sinkhorn.hpp>
#include <support/allocation_counter.hpp>
#include <support/golden.hpp>

using comet::add_permutation_entropy_gradient;
using comet::Index;
using comet::Matrix;
using comet::permutation_entropy;
using comet::RandomKey;
using comet::Sinkhorn;
using comet::SinkhornOptions;
using comet::test::relative_error;

namespace {

using Wide = Matrix<long double>;

Matrix<double> uniform(Index n, double limit, std::uint64_t seed) {
  Matrix<double> values(n, n);
  RandomKey(seed).fill_uniform(values, -limit, limit);
  return values;
}

struct Result {
  Matrix<double> soft;
  Matrix<double> grad;
};

Result run(Sinkhorn& sinkhorn, const Matrix<double>& log_weights, const SinkhornOptions& options,
           const Matrix<double>& upstream) {
  Result result{sinkhorn.forward(log_weights, options),
                Matrix<double>::Zero(log_weights.rows(), log_weights.cols())};
  sinkhorn.backward(upstream, result.grad);
  return result;
}

/// The definition, word by word: every matrix in the log domain, in long double, all of them kept.
Result reference(const Matrix<double>& log_weights, const SinkhornOptions& options,
                 const Matrix<double>& upstream) {
  const Index n = log_weights.rows();
  Wide a = (log_weights / options.temperature).cast<long double>();
  std::vector<Wide> softmax;  // of every half-step
  for (Index h = 0; h < 2 * options.iterations; ++h) {
    Wide p(n, n);
    for (Index i = 0; i < n; ++i) {
      const bool rows = h % 2 == 0;
      auto line = [&](Wide& m) { return rows ? Wide(m.row(i)) : Wide(m.col(i).transpose()); };
      const Wide x = line(a);
      const long double top = x.maxCoeff();
      const long double lse = top + std::log((x.array() - top).exp().sum());
      if (rows)
        a.row(i).array() -= lse;
      else
        a.col(i).array() -= lse;
    }
    p = a.array().exp().matrix();
    softmax.push_back(p);
  }
  Wide g = softmax.back().cwiseProduct(upstream.cast<long double>());
  for (Index h = 2 * options.iterations - 1; h >= 0; --h) {
    const Wide& p = softmax[static_cast<std::size_t>(h)];
    for (Index i = 0; i < n; ++i) {
      if (h % 2 == 0)
        g.row(i) -= (p.row(i) * g.row(i).sum()).eval();
      else
        g.col(i) -= (p.col(i) * g.col(i).sum()).eval();
    }
  }
  return {softmax.back().cast<double>(),
          (g / static_cast<long double>(options.temperature)).cast<double>()};
}

/// Largest error of a gradient, relative to its largest element, but at least to 1e-8 of upstream /
/// tau: at a small tau the terms of that size may cancel to anything down to nothing, and leave
/// their rounding.
double gradient_error(const Matrix<double>& actual, const Matrix<double>& expected,
                      const Matrix<double>& upstream, double tau) {
  const double scale =
      std::max(expected.cwiseAbs().maxCoeff(), 1e-8 * upstream.cwiseAbs().maxCoeff() / tau);
  return (actual - expected).cwiseAbs().maxCoeff() / scale;
}

}  // namespace

TEST_CASE("Sinkhorn, its entropy and their gradient match the golden numbers") {
  Sinkhorn sinkhorn;
  for (const auto& golden : comet::test::golden("sinkhorn.json")) {
    // The file lists rows, so that its memory is the transpose.
    const auto square = [&](const char* name) -> Matrix<double> {
      return comet::test::matrix(golden.at(name)).transpose();
    };
    const double tau = golden.at("tau").get<double>();
    const Index iterations = golden.at("iterations").get<Index>();
    const double tolerance = tau <= 1e-3 ? 1e-6 : 1e-9;
    CAPTURE(golden.at("n").get<Index>(), tau, iterations);

    const Matrix<double> log_weights = square("log_weights");
    const Matrix<double> soft =
        sinkhorn.forward(log_weights, {.temperature = tau, .iterations = iterations});
    CHECK(relative_error(soft, square("soft")) <= 1e-10);
    CHECK(permutation_entropy(soft) ==
          Approx(golden.at("entropy").get<double>()).epsilon(1e-9).margin(1e-12));
    CHECK(comet::assign(soft, comet::Goal::maximize).cost ==
          Approx(-golden.at("assignment_cost").get<double>()).epsilon(1e-9));

    Matrix<double> upstream = square("upstream");
    add_permutation_entropy_gradient(soft, golden.at("entropy_upstream").get<double>(), upstream);
    Matrix<double> grad = Matrix<double>::Zero(soft.rows(), soft.cols());
    sinkhorn.backward(upstream, grad);
    CHECK(gradient_error(grad, square("grad_log_weights"), upstream, tau) <= tolerance);
  }
}

TEST_CASE("Sinkhorn equals its definition in long double along the annealing schedule") {
  const comet::Annealing annealing;
  Sinkhorn sinkhorn;
  for (const Index n : {1, 2, 5, 16, 33})
    for (const Index step : {0, 3, 6, 9, 12}) {
      const SinkhornOptions options{.temperature = annealing.temperature(step, 12),
                                    .iterations = annealing.iterations(step, 12)};
      CAPTURE(n, options.temperature, options.iterations);
      const Matrix<double> log_weights = uniform(n, 0.05, 41);
      const Matrix<double> upstream = uniform(n, 1.0, 42);
      const Result actual = run(sinkhorn, log_weights, options, upstream);
      const Result expected = reference(log_weights, options, upstream);
      // |U / tau| * 2^-53 is the rounding of the exponents themselves.
      const double rounding = 0.05 / options.temperature * 0x1p-53;
      CHECK((actual.soft - expected.soft).cwiseAbs().maxCoeff() <= 1e-12 + 20 * rounding);
      CHECK(gradient_error(actual.grad, expected.grad, upstream, options.temperature) <= 1e-6);
    }
}

TEST_CASE("Sinkhorn holds where potentials move far: the reference has to follow") {
  const Index n = 12;
  const Eigen::VectorXd line = Eigen::VectorXd::LinSpaced(n, 0.1, 1.0);
  const Eigen::VectorXd steep = line.array().square().matrix();
  std::vector<Matrix<double>> log_weights{
      line * line.transpose(),  // all rows agree on the order of the columns
      -line * steep.transpose(),
      Matrix<double>::Constant(n, n, 3.0),
      uniform(n, 1.0, 51),
  };
  log_weights.push_back(log_weights[0]);
  log_weights.back().row(3).setConstant(-500.0);
  log_weights.back().col(7).setConstant(700.0);
  Sinkhorn sinkhorn;
  Index most_references = 0;
  for (std::size_t c = 0; c < log_weights.size(); ++c)
    for (const double tau : {1.0, 1e-2, 1e-4, 1e-6})
      for (const Index iterations : {1, 2, 60}) {
        const SinkhornOptions options{.temperature = tau, .iterations = iterations};
        CAPTURE(c, tau, iterations);
        const Matrix<double> upstream = uniform(n, 1.0, 52);
        const Result actual = run(sinkhorn, log_weights[c], options, upstream);
        const Result expected = reference(log_weights[c], options, upstream);
        const double rounding = log_weights[c].cwiseAbs().maxCoeff() / tau * 0x1p-53;
        CHECK((actual.soft - expected.soft).cwiseAbs().maxCoeff() <= 1e-12 + 20 * rounding);
        CHECK(gradient_error(actual.grad, expected.grad, upstream, tau) <= 1e-6 + 100 * rounding);
        CHECK((actual.soft.colwise().sum().array() - 1).abs().maxCoeff() <= 1e-14 * double(n));
        CHECK(actual.soft.rowwise().sum().minCoeff() >= 1 / double(n) - 1e-14);
        most_references = std::max(most_references, sinkhorn.reference_count());
      }
  CHECK(most_references > 2);  // else this test has tried nothing
}

TEST_CASE("the derivative of Sinkhorn and entropy agrees with finite differences") {
  const Index n = 6;
  const double zeta = 0.3;
  for (const double tau : {0.5, 0.05, 0.01}) {
    const SinkhornOptions options{.temperature = tau, .iterations = 7};
    const Matrix<double> upstream = uniform(n, 1.0, 61);
    Matrix<double> log_weights = uniform(n, 0.05, 62);
    Sinkhorn sinkhorn;
    const auto loss = [&] {
      const auto soft = sinkhorn.forward(log_weights, options);
      return soft.cwiseProduct(upstream).sum() + zeta * permutation_entropy(soft);
    };
    (void)loss();
    Matrix<double> grad_soft = upstream;
    add_permutation_entropy_gradient(sinkhorn.soft(), zeta, grad_soft);
    Matrix<double> grad = Matrix<double>::Zero(n, n);
    sinkhorn.backward(grad_soft, grad);

    Matrix<double> numeric(n, n);
    const double step = 1e-4 * tau;
    for (Index j = 0; j < n; ++j)
      for (Index i = 0; i < n; ++i) {
        const double value = log_weights(i, j);
        log_weights(i, j) = value + step;
        const double above = loss();
        log_weights(i, j) = value - step;
        const double below = loss();
        log_weights(i, j) = value;
        numeric(i, j) = (above - below) / (2 * step);
      }
    CAPTURE(tau);
    CHECK(relative_error(grad, numeric) <= 1e-6);
  }
}

TEST_CASE("the entropy of soft permutations") {
  const Index n = 20;
  CHECK(permutation_entropy(Matrix<double>::Constant(n, n, 1.0 / double(n))) ==
        Approx(2 * double(n) * std::log(n)).epsilon(1e-4));
  CHECK(permutation_entropy(comet::Permutation::random(n, RandomKey(1)).matrix()) ==
        Approx(-2e-6 * double(n)).epsilon(1e-5));
  CHECK(permutation_entropy(Matrix<double>(0, 0)) == 0);
  CHECK(permutation_entropy(Matrix<double>::Zero(2, 2)) == 0);

  // Against the definition, on a matrix whose rows do not sum to 1; and its gradient.
  Matrix<double> soft = (uniform(n, 1.0, 71).array() + 1.1).matrix();
  const auto definition = [&] {
    const Matrix<double> r = soft.rowwise().sum().cwiseInverse().asDiagonal() * soft;
    return -(soft.array() * (soft.array() + 1e-6).log()).sum() -
           (r.array() * (r.array() + 1e-6).log()).sum();
  };
  CHECK(permutation_entropy(soft) == Approx(definition()).epsilon(1e-12));
  Matrix<double> grad = Matrix<double>::Constant(n, n, 5.0);
  add_permutation_entropy_gradient(soft, 2.0, grad);
  for (const Index at : {Index{0}, Index{7}, n * n - 1}) {
    const double value = soft(at);
    soft(at) = value + 1e-5;
    const double above = definition();
    soft(at) = value - 1e-5;
    const double below = definition();
    soft(at) = value;
    CHECK(grad(at) - 5.0 == Approx(2.0 * (above - below) / 2e-5).epsilon(1e-6));
  }
}

TEST_CASE("Sinkhorn keeps nothing of earlier calls") {
  const Matrix<double> log_weights = uniform(9, 0.05, 81);
  const Matrix<double> upstream = uniform(9, 1.0, 82);
  const SinkhornOptions options{.temperature = 1e-4, .iterations = 30};
  Sinkhorn fresh;
  const Result expected = run(fresh, log_weights, options, upstream);

  Sinkhorn used;
  (void)run(used, uniform(17, 1.0, 83), {.temperature = 1e-6, .iterations = 50},
            uniform(17, 1.0, 84));
  const Result again = run(used, log_weights, options, upstream);
  CHECK(again.soft == expected.soft);
  CHECK(again.grad == expected.grad);

  // A second backward adds to the gradient; copies are independent.
  Sinkhorn copy = used;
  (void)used.forward(uniform(3, 1.0, 85), options);
  Matrix<double> twice = again.grad;
  copy.backward(upstream, twice);
  CHECK(relative_error(twice, 2 * again.grad) <= 1e-15);
  CHECK(copy.soft() == expected.soft);
}

TEST_CASE("Sinkhorn does not allocate for sizes it has seen") {
  if (!comet::test::can_count_allocations) return;
  Sinkhorn sinkhorn;
  const Matrix<double> log_weights = uniform(33, 0.05, 91);
  const Matrix<double> small = uniform(16, 0.05, 92);
  Matrix<double> upstream = uniform(33, 1.0, 93);
  Matrix<double> grad = Matrix<double>::Zero(33, 33);
  const auto step = [&](double tau, Index iterations) {
    const auto soft = sinkhorn.forward(log_weights, {.temperature = tau, .iterations = iterations});
    add_permutation_entropy_gradient(soft, 1e-4, upstream);
    sinkhorn.backward(upstream, grad);
  };
  step(1e-7, 150);
  const long count = comet::test::count_allocations([&] {
    step(1e-7, 150);
    (void)sinkhorn.forward(small, {.temperature = 1e-3, .iterations = 20});
    step(1e-5, 85);
  });
  CHECK(count == 0);
}

TEST_CASE("Sinkhorn of nothing, and what it refuses") {
  Sinkhorn sinkhorn;
  Matrix<double> empty(0, 0);
  CHECK(sinkhorn.forward(empty, {}).size() == 0);
  CHECK_NOTHROW(sinkhorn.backward(empty, empty));

  Matrix<double> values = Matrix<double>::Zero(3, 3);
  CHECK_THROWS_WITH(sinkhorn.forward(Matrix<double>::Zero(3, 2), {}),
                    "comet::Sinkhorn::forward: log_weights.cols() is 2, expected "
                    "log_weights.rows() = 3");
  CHECK_THROWS_WITH(sinkhorn.forward(values, {.temperature = 0}),
                    "comet::Sinkhorn::forward: temperature is 0, expected a finite number > 0");
  CHECK_THROWS_WITH(sinkhorn.forward(values, {.iterations = 0}),
                    "comet::Sinkhorn::forward: iterations is 0, expected at least 1");
  values(1, 2) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(sinkhorn.forward(values, {}),
                    "comet::Sinkhorn::forward: log_weights(1, 2) is nan, expected a finite number");
  values(1, 2) = 1;
  CHECK_THROWS_AS(sinkhorn.forward(values, {.temperature = 1e-310}), std::invalid_argument);

  (void)sinkhorn.forward(values, {});
  Matrix<double> wrong(2, 3);
  CHECK_THROWS_WITH(sinkhorn.backward(wrong, values),
                    "comet::Sinkhorn::backward: grad_soft.rows() is 2, expected n = 3");
  CHECK_THROWS_AS(sinkhorn.backward(values, wrong), std::invalid_argument);
  CHECK_THROWS_AS(add_permutation_entropy_gradient(values, 1.0, wrong), std::invalid_argument);
}
