// SPDX-License-Identifier: MIT
#include <set>
#include <string>
#include <vector>

#include <comet/gates/top_k.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/gates.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::Json;
using comet::test::parameter;
using comet::test::random_matrix;

namespace {

/// A gate on d = 1 whose logits are the given numbers whatever x is.
TopKGate<double> gate_of_logits(const std::vector<double>& logits, Index k,
                                TopKSoftmax softmax = TopKSoftmax::selected) {
  TopKGate<double> gate(
      {.input_dim = 1, .num_experts = Index(logits.size()), .k = k, .softmax = softmax},
      RandomKey(0));
  parameter(gate, "weight").setZero();
  std::copy(logits.begin(), logits.end(), parameter(gate, "bias").data());
  return gate;
}

Routing<double> route_one(const TopKGate<double>& gate) {
  return test::routed(gate, Matrix<double>::Ones(1, 1));
}

std::vector<ExpertId> experts_of(const Routing<double>& routing) {
  return {routing.experts().begin(), routing.experts().end()};
}

}  // namespace

TEMPLATE_TEST_CASE("Top-k matches the reference", "[golden]", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-9 : 1e-4;
  int plain_cases = 0;
  int noisy_cases = 0;
  for (const Json& c : test::golden("top_k_gate.json")) {
    if (!c.at("permutation").is_null()) continue;  // labels of experts are not the gate's business
    const bool noisy = !c.at("noise").is_null();
    ++(noisy ? noisy_cases : plain_cases);
    const auto n = c.at("n").get<Index>();
    CAPTURE(n, noisy);
    TopKGate<S> gate({.input_dim = c.at("d").get<Index>(),
                      .num_experts = n,
                      .k = c.at("k").get<Index>(),
                      .noise = noisy},
                     RandomKey(0));
    const Json& params = c.at("params");
    parameter(gate, "weight") = test::matrix<S>(params.at("weight"));
    parameter(gate, "bias") = test::matrix<S>(params.at("bias"));
    if (noisy) parameter(gate, "noise.weight") = test::matrix<S>(params.at("noise_weight"));

    const Matrix<S> x = test::matrix<S>(params.at("x"));
    Pass pass(gate);
    Routing<S> routing;
    if (noisy) {
      gate.forward(x, test::matrix<S>(c.at("noise")), routing, pass);
    } else {
      gate.forward(x, routing, RandomKey(0), pass);
    }
    CHECK(test::relative_error(routing.dense(n), test::matrix(c.at("weights"))) <= tolerance);
    CHECK(gate.regularization(pass) == S(0));
    const std::vector<S> dweights = test::entries(routing, test::matrix<S>(c.at("upstream")));
    Matrix<S> dx = Matrix<S>::Zero(x.rows(), x.cols());
    gate.backward(x, routing, dweights, dx, pass);
    const Json& grads = c.at("grads");
    CHECK(test::relative_error(dx, test::matrix(grads.at("x"))) <= tolerance);
    CHECK(test::relative_error(test::gradient(gate, pass, "weight"),
                               test::matrix(grads.at("weight"))) <= tolerance);
    CHECK(test::relative_error(test::gradient(gate, pass, "bias"),
                               test::matrix(grads.at("bias"))) <= tolerance);
    if (noisy)
      CHECK(test::relative_error(test::gradient(gate, pass, "noise.weight"),
                                 test::matrix(grads.at("noise_weight"))) <= tolerance);
  }
  CHECK(plain_cases == 7);
  CHECK(noisy_cases == 7);
}

TEST_CASE("Top-k's gradients agree with finite differences", "[gradient]") {
  const Index n = 5;
  for (const Index k : {1, 2, 5})
    for (const TopKSoftmax softmax : {TopKSoftmax::selected, TopKSoftmax::all})
      for (const bool noise : {false, true}) {
        CAPTURE(k, softmax == TopKSoftmax::all, noise);
        TopKGate<double> gate(
            {.input_dim = 3, .num_experts = n, .k = k, .softmax = softmax, .noise = noise},
            RandomKey(1));
        if (noise) parameter(gate, "noise.weight") = random_matrix<double>(3, n, 8);
        test::WithInput model(gate, random_matrix<double>(3, 6, 2));
        const Matrix<double> upstream = random_matrix<double>(n, 6, 3);
        Pass pass(gate);
        const auto loss = [&] {
          Routing<double> routing;
          gate.forward(model.x, routing, RandomKey(5), pass);
          return routing.dense(n).cwiseProduct(upstream).sum();
        };
        const auto result =
            testing::check_gradients(model, loss, [&](GradientView<double> gradients) {
              pass.borrow(model.of_part(gradients));
              test::add_gradients(gate, model.x, upstream, model.of_input(gradients), pass);
            });
        INFO(result.where << ": " << result.analytic << " against " << result.numeric);
        CHECK(result.largest_error <= 1e-6);
        CHECK(result.num_checked == 4 * n + (noise ? 3 * n : 0) + 18);
      }
}

TEMPLATE_TEST_CASE("Top-k's rows obey the laws of a gate, for any n, k and B", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  for (const Index n : {1, 2, 3, 5, 8, 16, 33})
    for (const Index k : std::set<Index>{1, std::min(n, Index(2)), n})
      for (const Index num_samples : {0, 1, 7})
        for (const TopKSoftmax softmax : {TopKSoftmax::selected, TopKSoftmax::all}) {
          CAPTURE(n, k, num_samples);
          const TopKGate<S> gate({.input_dim = 4, .num_experts = n, .k = k, .softmax = softmax},
                                 RandomKey(9));
          const Matrix<S> x = random_matrix<S>(4, num_samples, 10);
          const Routing<S> routing = test::routed(gate, x);
          const bool all_kept = softmax == TopKSoftmax::selected || k == n;
          test::check_rows(routing, n, num_samples, k, all_kept);
          CHECK(routing.num_entries() == k * num_samples);
          CHECK(gate.max_active() == k);
        }
}

TEST_CASE("Top-k selects the largest logits") {
  const Matrix<double> x = random_matrix<double>(4, 20, 3);
  TopKGate<double> gate({.input_dim = 4, .num_experts = 9, .k = 3}, RandomKey(2));
  const Matrix<double> h = (parameter(gate, "weight").transpose() * x).colwise() +
                           Vector<double>(parameter(gate, "bias").col(0));
  const Routing<double> routing = test::routed(gate, x);
  for (Index b = 0; b < 20; ++b) {
    double smallest_kept = 1e9;
    for (const ExpertId e : routing.experts(b)) smallest_kept = std::min(smallest_kept, h(e, b));
    CHECK((h.col(b).array() >= smallest_kept - 1e-12).count() == 3);
    double sum = 0;
    for (const ExpertId e : routing.experts(b)) sum += std::exp(h(e, b));
    for (std::size_t i = 0; i < 3; ++i)
      CHECK(routing.weights(b)[i] == Approx(std::exp(h(routing.experts(b)[i], b)) / sum));
  }
}

TEST_CASE("Top-k gives ties to the smaller index") {
  CHECK(experts_of(route_one(gate_of_logits({1, 1, 1, 1}, 2))) == std::vector<ExpertId>{0, 1});
  CHECK(experts_of(route_one(gate_of_logits({0, 3, 2, 3, 2}, 3))) ==
        std::vector<ExpertId>{1, 2, 3});
  CHECK(experts_of(route_one(gate_of_logits({0, 0, 5, 0}, 3))) == std::vector<ExpertId>{0, 1, 2});
  CHECK(experts_of(route_one(gate_of_logits({-0.0, 0.0, -0.0}, 1))) == std::vector<ExpertId>{0});
  CHECK(experts_of(route_one(gate_of_logits(std::vector<double>(33, 7.0), 16))).back() == 15);
}

TEST_CASE("a selected logit of exactly 0 stays selected in Top-k") {
  const Routing<double> routing = route_one(gate_of_logits({-1, 0, -2, -3}, 2));
  CHECK(experts_of(routing) == std::vector<ExpertId>{0, 1});
  CHECK(routing.weights()[1] == Approx(1 / (1 + std::exp(-1.0))));
}

TEST_CASE("logits far apart do not overflow in Top-k") {
  const Routing<double> routing = route_one(gate_of_logits({1e4, -1e4, 9999, 0}, 2));
  CHECK(experts_of(routing) == std::vector<ExpertId>{0, 2});
  CHECK(routing.weights()[0] == Approx(1 / (1 + std::exp(-1.0))));
}

TEST_CASE("with k = 1 a softmax over the selected has no gradient, one over all has") {
  for (const TopKSoftmax softmax : {TopKSoftmax::selected, TopKSoftmax::all}) {
    TopKGate<double> gate({.input_dim = 3, .num_experts = 4, .k = 1, .softmax = softmax},
                          RandomKey(1));
    const Matrix<double> x = random_matrix<double>(3, 5, 2);
    Matrix<double> dx = Matrix<double>::Zero(3, 5);
    Pass pass(gate);
    test::add_gradients(gate, x, random_matrix<double>(4, 5, 3), dx, pass);
    const Matrix<double> gradient = test::gradient(gate, pass, "weight");
    if (softmax == TopKSoftmax::selected) {
      CHECK(gradient.isZero(0));
      CHECK(dx.isZero(0));
    } else {
      CHECK(gradient.cwiseAbs().minCoeff() > 0);  // every expert learns
    }
  }
}

TEST_CASE("Top-k's noise is drawn from the key, sample by sample, in training only") {
  TopKGate<double> gate({.input_dim = 3, .num_experts = 6, .k = 2, .noise = true}, RandomKey(1));
  const Matrix<double> x = random_matrix<double>(3, 40, 2);
  Pass pass(gate);
  Routing<double> quiet, noisy, again, other, first_half;
  gate.route(x, quiet, pass);
  gate.forward(x, noisy, RandomKey(1), pass);
  gate.forward(x, again, RandomKey(1), pass);
  gate.forward(x, other, RandomKey(2), pass);
  gate.forward(x.leftCols(20), first_half, RandomKey(1), pass);
  CHECK(test::same_bits(noisy.dense(6), again.dense(6)));
  CHECK_FALSE(test::same_bits(noisy.dense(6), other.dense(6)));
  CHECK_FALSE(test::same_bits(noisy.dense(6), quiet.dense(6)));
  CHECK(test::same_bits(noisy.dense(6).leftCols(20), first_half.dense(6)));

  // forward() with these very draws replays it.
  Matrix<double> noise(6, 40);
  for (Index b = 0; b < 40; ++b)
    for (Index i = 0; i < 6; ++i)
      noise(i, b) = RandomKey(1).fold(std::uint64_t(b)).normal(std::uint64_t(i));
  gate.forward(x, noise, again, pass);
  CHECK(test::same_bits(noisy.dense(6), again.dense(6)));
}

TEMPLATE_TEST_CASE("Top-k routes a sample alone as in a batch, bit by bit", "",
                   COMET_TEST_SCALARS) {
  for (const Index d : {1, 3, 8, 33}) {
    CAPTURE(d);
    test::check_laws(TopKGate<TestType>({.input_dim = d, .num_experts = 11, .k = 3}, RandomKey(2)),
                     {.num_samples = 67, .differences = false});
  }
}

TEST_CASE("Top-k computes the same bits for any number of threads") {
  const TopKGate<float> gate(
      {.input_dim = 64, .num_experts = 32, .k = 4, .softmax = TopKSoftmax::all, .noise = true},
      RandomKey(6));
  // 64 * 600 * 32 multiply-adds are more than the threshold of 2^20.
  test::check_laws(gate, {.num_threaded_samples = 600, .sums_to_one = false});
}

TEMPLATE_TEST_CASE("Top-k keeps forward and backward together", "", COMET_TEST_SCALARS) {
  for (const bool noise : {false, true})
    test::check_laws(TopKGate<TestType>({.input_dim = 4, .num_experts = 6, .k = 3, .noise = noise},
                                        RandomKey(3)),
                     {.num_samples = 9});
}

TEST_CASE("Top-k's penalties count the samples that are no padding") {
  const Matrix<double> x = random_matrix<double>(3, 6, 2);
  const std::vector<std::uint8_t> mask{1, 0, 1, 1, 0, 1};
  Matrix<double> live(3, 4);
  live << x.col(0), x.col(2), x.col(3), x.col(5);
  for (const TopKGateOptions& options :
       {TopKGateOptions{.input_dim = 3, .num_experts = 4, .load_balance = 1},
        TopKGateOptions{.input_dim = 3, .num_experts = 4, .importance = 1},
        TopKGateOptions{.input_dim = 3, .num_experts = 4, .router_z = 1}}) {
    const TopKGate<double> gate(options, RandomKey(1));
    Pass padded(gate), alone(gate);
    Routing<double> routing;
    gate.forward(Samples<double>(x, {}, mask), routing, RandomKey(3), padded);
    gate.forward(live, routing, RandomKey(3), alone);
    CHECK(gate.regularization(padded) > 0);
    CHECK(gate.regularization(padded) == gate.regularization(alone));
  }
}

TEST_CASE("Top-k's penalties that overflow are named") {
  TopKGate<float> gate({.input_dim = 1, .num_experts = 2, .router_z = 1}, RandomKey(1));
  parameter(gate, "bias").setConstant(1e30F);
  Pass pass(gate);
  Routing<float> routing;
  CHECK_THROWS_AS(gate.forward(Matrix<float>::Zero(1, 2), routing, RandomKey(1), pass), NotFinite);
  CHECK_THROWS_WITH(gate.forward(Matrix<float>::Zero(1, 2), routing, RandomKey(1), pass),
                    "comet::TopKGate::forward: the penalty router_z overflows");
}

TEST_CASE("Top-k refuses what it cannot work with") {
  using Gate = TopKGate<double>;
  const auto make = [](TopKGateOptions options) { return Gate(options, RandomKey(0)); };
  CHECK_THROWS_WITH(make({.input_dim = 0, .num_experts = 4}),
                    "comet::TopKGate: input_dim is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 0}),
                    "comet::TopKGate: num_experts is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .k = 0}),
                    "comet::TopKGate: k is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.input_dim = 3, .num_experts = 4, .k = 5}),
                    "comet::TopKGate: k is 5, expected at most num_experts = 4");
  const Gate gate = make({.input_dim = 3, .num_experts = 4});
  Pass pass(gate);
  Routing<double> routing;
  const Matrix<double> x = Matrix<double>::Zero(3, 2);
  CHECK_THROWS_WITH(gate.route(Matrix<double>::Zero(4, 2), routing, pass),
                    "comet::TopKGate::route: x.rows() is 4, expected input_dim = 3");
  CHECK_THROWS_WITH(gate.forward(Matrix<double>::Zero(4, 2), routing, RandomKey(1), pass),
                    "comet::TopKGate::forward: x.rows() is 4, expected input_dim = 3");
  Matrix<double> bad = Matrix<double>::Zero(3, 3);
  bad(2, 2) = std::nan("");
  CHECK_THROWS_WITH(gate.route(bad, routing, pass),
                    "comet::TopKGate::route: x(2, 2) is nan, expected a finite number");
  bad(2, 2) = -std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH(gate.forward(bad, routing, RandomKey(1), pass),
                    "comet::TopKGate::forward: x(2, 2) is -inf, expected a finite number");
  CHECK_THROWS_WITH(gate.forward(x, Matrix<double>::Zero(4, 2), routing, pass),
                    "comet::TopKGate::forward: the gate was made without noise");
  const Gate noisy = make({.input_dim = 3, .num_experts = 4, .noise = true});
  CHECK_THROWS_WITH(noisy.forward(x, Matrix<double>::Zero(3, 2), routing, pass),
                    "comet::TopKGate::forward: noise.rows() is 3, expected num_experts = 4");
  CHECK_THROWS_WITH(noisy.forward(x, Matrix<double>::Zero(4, 3), routing, pass),
                    "comet::TopKGate::forward: noise.cols() is 3, expected x.cols() = 2");
}

TEST_CASE("Top-k reports a parameter that is not finite, whether its expert is selected or not") {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double value : {std::nan(""), infinity, -infinity})
    for (std::size_t place = 0; place < 4; ++place) {
      CAPTURE(value, place);
      std::vector<double> logits{3, 1, 2, 0};
      logits[place] = value;
      CHECK_THROWS_WITH(route_one(gate_of_logits(logits, 2)),
                        "comet::TopKGate::route: the logits of sample 0 overflow or a parameter is "
                        "not finite");
    }
}
