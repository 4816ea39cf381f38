// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include <comet/gates/any.hpp>
#include <comet/gates/balanced_top_k.hpp>
#include <comet/io/safetensors.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/gates.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::Json;
using comet::test::parameter;
using comet::test::random_matrix;

static_assert(LoadedGate<BalancedTopKGate<double>> && Stateful<BalancedTopKGate<double>>);

namespace {

template <class S>
BalancedTopKGate<S> golden_gate(const Json& c, BiasUpdate update) {
  const bool shares = c.at("score").get<std::string>() == "softmax";
  BalancedTopKGate<S> gate({.input_dim = c.at("d").get<Index>(),
                            .num_experts = c.at("n").get<Index>(),
                            .k = c.at("k").get<Index>(),
                            .scores = shares ? GateScores::softmax : GateScores::sigmoid,
                            .normalize = c.at("normalised").get<bool>(),
                            .update = update},
                           RandomKey(0));
  parameter(gate, "weight") = test::matrix<S>(c.at("weight"));
  parameter(gate, "bias") = test::matrix<S>(c.at("bias"));
  return gate;
}

template <class S>
void set_selection_bias(BalancedTopKGate<S>& gate, const Matrix<S>& bias) {
  gate.visit_state([&](const char*, std::span<S> values) {
    std::copy_n(bias.data(), values.size(), values.begin());
  });
  gate.restored();
}

template <class S>
Matrix<S> selection_bias(const BalancedTopKGate<S>& gate) {
  return Eigen::Map<const Matrix<S>>(gate.selection_bias().data(), gate.num_experts(), 1);
}

template <class S>
std::vector<Index> load_of(const Routing<S>& routing, Index num_experts) {
  std::vector<Index> load(std::size_t(num_experts), 0);
  for (const ExpertId expert : routing.experts()) ++load[std::size_t(expert)];
  return load;
}

}  // namespace

TEMPLATE_TEST_CASE("balanced Top-k matches the reference", "[golden]", COMET_TEST_SCALARS) {
  using S = TestType;
  const double tolerance = std::is_same_v<S, double> ? 1e-9 : 1e-4;
  int quantiles = 0;
  for (const Json& c : test::golden("biased_top_k_gate.json")) {
    const auto n = c.at("n").get<Index>();
    CAPTURE(n, c.at("score").get<std::string>(), c.at("normalised").get<bool>());
    auto gate = golden_gate<S>(c, BiasUpdate::sign);
    set_selection_bias<S>(gate, test::matrix<S>(c.at("selection_bias")));
    const Matrix<S> x = test::matrix<S>(c.at("x"));
    Pass pass(gate);
    Routing<S> routing;
    gate.forward(x, routing, RandomKey(0), pass);
    CHECK(test::relative_error(routing.dense(n), test::matrix(c.at("weights"))) <= tolerance);
    const std::vector<S> dweights = test::entries(routing, test::matrix<S>(c.at("upstream")));
    Matrix<S> dx = Matrix<S>::Zero(x.rows(), x.cols());
    gate.backward(x, routing, dweights, dx, pass);
    // With k = 1, normalised weights are 1 and the reference's gradients are rounding.
    const auto error = [&](const Matrix<S>& actual, const char* name) {
      const Matrix<double> expected = test::matrix(c.at(name));
      return expected.cwiseAbs().maxCoeff() < 1e-12 ? double(actual.cwiseAbs().maxCoeff())
                                                    : test::relative_error(actual, expected);
    };
    CHECK(error(dx, "grad_x") <= tolerance);
    CHECK(error(test::gradient(gate, pass, "weight"), "grad_weight") <= tolerance);
    CHECK(error(test::gradient(gate, pass, "bias"), "grad_bias") <= tolerance);

    const std::vector<Index> load = load_of(routing, n);
    for (std::size_t i = 0; i < load.size(); ++i)
      CHECK(double(load[i]) == c.at("load")[i].get<double>());
    end_of_step(gate, std::span(load));
    const Matrix<double> moved = test::matrix(c.at("selection_bias_after_sign_update"));
    CHECK(test::relative_error(selection_bias(gate), moved) <= tolerance);

    const Json& threshold = c.at("threshold_after_one_quantile_update_from_zero");
    if (threshold.is_null()) continue;
    ++quantiles;
    auto even = golden_gate<S>(c, BiasUpdate::quantile);
    Pass even_pass(even);
    even.forward(x, routing, RandomKey(0), even_pass);
    end_of_step(even, std::span(load), even_pass);
    CHECK(test::relative_error(-selection_bias(even), test::matrix(threshold)) <= tolerance);
    if constexpr (std::is_same_v<S, double>) {  // thresholds are scores: ties depend on rounding
      even.route(x, routing, even_pass);
      const std::vector<Index> evened = load_of(routing, n);
      for (std::size_t i = 0; i < load.size(); ++i)
        CHECK(double(evened[i]) == c.at("load_with_that_threshold")[i].get<double>());
    }
  }
  CHECK(quantiles == 16);
}

TEST_CASE("balanced Top-k's gradients agree with finite differences", "[gradient]") {
  for (const Index k : {1, 2, 5})
    for (const GateScores scores : {GateScores::softmax, GateScores::sigmoid})
      for (const bool normalize : {false, true}) {
        CAPTURE(k, scores == GateScores::softmax, normalize);
        BalancedTopKGate<double> gate(
            {.input_dim = 3, .num_experts = 5, .k = k, .scores = scores, .normalize = normalize},
            RandomKey(1));
        set_selection_bias<double>(gate, random_matrix<double>(5, 1, 7, -0.2, 0.2));
        test::WithInput model(gate, random_matrix<double>(3, 6, 2));
        const Matrix<double> upstream = random_matrix<double>(5, 6, 3);
        Pass pass(gate);
        const auto loss = [&] {
          Routing<double> routing;
          gate.forward(model.x, routing, RandomKey(5), pass);
          return routing.dense(5).cwiseProduct(upstream).sum();
        };
        const auto result =
            testing::check_gradients(model, loss, [&](GradientView<double> gradients) {
              pass.borrow(model.of_part(gradients));
              test::add_gradients(gate, model.x, upstream, model.of_input(gradients), pass);
            });
        INFO(result.where << ": " << result.analytic << " against " << result.numeric);
        CHECK(result.largest_error <= 1e-6);
      }
}

TEMPLATE_TEST_CASE("balanced Top-k obeys the laws of a gate in every form", "",
                   COMET_TEST_SCALARS) {
  for (const Index k : {1, 3, 6})
    for (const GateScores scores : {GateScores::softmax, GateScores::sigmoid})
      for (const bool normalize : {false, true}) {
        CAPTURE(k, scores == GateScores::softmax, normalize);
        BalancedTopKGate<TestType> gate(
            {.input_dim = 4, .num_experts = 6, .k = k, .scores = scores, .normalize = normalize},
            RandomKey(3));
        set_selection_bias<TestType>(gate, random_matrix<TestType>(6, 1, 7, -0.2, 0.2));
        test::check_laws(gate, {.sums_to_one = normalize,
                                .at_most_one = normalize || scores == GateScores::softmax});
        const Matrix<TestType> x = random_matrix<TestType>(4, 30, 8);
        CHECK(test::same_bits(test::routed(gate.freeze(), x).dense(6),
                              test::routed(gate, x).dense(6)));
      }
  // 64 * 600 * 32 multiply-adds are more than the threshold of 2^20.
  test::check_laws(
      BalancedTopKGate<TestType>({.input_dim = 64, .num_experts = 32, .k = 4}, RandomKey(6)),
      {.num_threaded_samples = 600, .differences = false});
}

TEST_CASE("balanced Top-k evens its load, by sign and by quantile") {
  const Index n = 8, k = 2, num_samples = 512;
  const Matrix<double> x = random_matrix<double>(4, num_samples, 2);
  for (const BiasUpdate update : {BiasUpdate::sign, BiasUpdate::quantile}) {
    BalancedTopKGate<double> gate(
        {.input_dim = 4, .num_experts = n, .k = k, .update = update, .rate = 1e-3}, RandomKey(1));
    parameter(gate, "bias")(3, 0) = 2;  // everyone's favourite
    Pass pass(gate);
    Routing<double> routing;
    const auto largest_load = [&] {
      gate.forward(x, routing, RandomKey(0), pass);
      const auto load = load_of(routing, n);
      return std::pair(*std::max_element(load.begin(), load.end()), load);
    };
    CHECK(largest_load().first == num_samples);
    for (int step = 0; step < 1000; ++step) gate.end_of_step(largest_load().second, pass);
    CHECK(largest_load().first <= num_samples * k / n * 11 / 10);
  }
}

TEST_CASE("balanced Top-k under new labels is told the load of its own experts") {
  const Permutation p({2, 0, 3, 1});  // slot 0 is expert 2
  const std::vector<Index> load{1, 1, 5, 1};
  PermutedGate gate(
      BalancedTopKGate<double>({.input_dim = 3, .num_experts = 4, .rate = 0.5}, RandomKey(1)));
  gate.set_permutation(p);
  end_of_step(gate, std::span(load));
  CHECK(gate.gate().selection_bias()[0] == -0.5);

  const BalancedTopKGate<double> quantile(
      {.input_dim = 3, .num_experts = 4, .update = BiasUpdate::quantile}, RandomKey(1));
  PermutedGate moved(quantile);
  BalancedTopKGate<double> plain = quantile;
  moved.set_permutation(p);
  const Matrix<double> x = random_matrix<double>(3, 20, 2);
  Routing<double> routing;
  Pass moved_pass(moved);
  Pass plain_pass(plain);
  moved.forward(x, routing, RandomKey(1), moved_pass);
  plain.forward(x, routing, RandomKey(1), plain_pass);
  end_of_step(moved, std::span(load), moved_pass);
  end_of_step(plain, std::span(load), plain_pass);
  CHECK_FALSE(selection_bias(plain).isZero(0));
  CHECK(selection_bias(moved.gate()) == selection_bias(plain));
  CHECK_THROWS_WITH(AnyGate<double>(plain).end_of_step(load),
                    "comet::BalancedTopKGate::end_of_step: the update by quantile takes the scores "
                    "of the step's forward(): end_of_step(load, pass)");
}

TEST_CASE("a load that cannot be even moves the quantiles between two scores") {
  // Seven samples, k = 1, n = 2: an even load is 3.5, so the threshold is half way from the fourth
  // to the fifth best of s - alpha. With s = (p, 1 - p), alpha is the other's share.
  BalancedTopKGate<double> gate(
      {.input_dim = 1, .num_experts = 2, .k = 1, .update = BiasUpdate::quantile}, RandomKey(1));
  parameter(gate, "weight") << 1, 0;
  parameter(gate, "bias").setZero();
  Matrix<double> x(1, 7);
  x << 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7;
  Pass pass(gate);
  Routing<double> routing;
  gate.forward(x, routing, RandomKey(0), pass);
  gate.end_of_step(std::vector<Index>{7, 0}, pass);
  const auto lead = [](double h) { return 2 * sigmoid(h) - 1; };  // of the first: s - alpha
  CHECK(gate.selection_bias()[0] == Approx(-(lead(0.4) + lead(0.3)) / 2));
  CHECK(gate.selection_bias()[1] == Approx(0).margin(1e-15));  // alpha is its own share
}

TEST_CASE("balanced Top-k's weights keep their quotients where scores are too small to have any") {
  BalancedTopKGate<float> gate(
      {.input_dim = 1, .num_experts = 3, .k = 2, .scores = GateScores::sigmoid}, RandomKey(1));
  parameter(gate, "weight").setZero();
  parameter(gate, "bias") << -200, -201, -300;
  const auto routing = test::routed(gate, Matrix<float>::Zero(1, 1));
  CHECK(routing.weights()[0] == Approx(1 / (1 + std::exp(-1.0))));
  CHECK(routing.weights()[1] == Approx(1 / (1 + std::exp(1.0))));
}

TEMPLATE_TEST_CASE("balanced Top-k's bias is saved and resumed, in an AnyGate as well", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  BalancedTopKGate<S> gate({.input_dim = 3, .num_experts = 4, .rate = 0.25}, RandomKey(1));
  const AnyGate<S> fresh(gate);
  const auto file = std::filesystem::temp_directory_path() /
                    ("comet_selection_bias_" + std::to_string(sizeof(S)) + ".safetensors");
  gate.end_of_step(std::vector<Index>{4, 0, 1, 3});
  save_tensors(file, state_tensors(gate, "gate."));
  AnyGate<S> any = fresh;
  load_state(TensorFile(file), any, "gate.");
  const auto bias = any.template get_if<BalancedTopKGate<S>>()->selection_bias();
  CHECK(std::vector<S>(bias.begin(), bias.end()) ==
        std::vector<S>{S(-0.25), S(0.25), S(0.25), S(-0.25)});
  CHECK(state_tensors(any, "gate.").size() == 1);
  CHECK(state_tensors(any, "gate.")[0].name == "gate.selection_bias");

  any.visit_state([](const ParameterName&, auto values) { values[1] = {}; });
  CHECK(any.template get_if<BalancedTopKGate<S>>()->selection_bias()[1] == S(0));
  set_selection_bias<S>(gate, Matrix<S>::Zero(4, 1));
  gate.visit_state(
      [](const char*, std::span<S> values) { values[2] = std::numeric_limits<S>::infinity(); });
  CHECK_THROWS_WITH(gate.restored(),
                    "comet::BalancedTopKGate::restored: a selection bias is inf, expected a finite "
                    "number");
  std::filesystem::remove(file);
}

TEST_CASE("balanced Top-k refuses what it cannot work with") {
  const auto make = [](BalancedTopKGateOptions options) {
    options.input_dim = options.input_dim == 0 ? 3 : options.input_dim;
    return BalancedTopKGate<double>(options, RandomKey(0));
  };
  CHECK_THROWS_WITH(make({.input_dim = -1, .num_experts = 4}),
                    "comet::BalancedTopKGate: input_dim is -1, expected at least 1");
  CHECK_THROWS_WITH(make({}), "comet::BalancedTopKGate: num_experts is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.num_experts = 4, .k = 0}),
                    "comet::BalancedTopKGate: k is 0, expected at least 1");
  CHECK_THROWS_WITH(make({.num_experts = 4, .k = 5}),
                    "comet::BalancedTopKGate: k is 5, expected at most num_experts = 4");
  CHECK_THROWS_WITH(make({.num_experts = 4, .rate = 0}),
                    "comet::BalancedTopKGate: rate is 0, expected a finite number > 0");
  auto gate = make({.num_experts = 4});
  CHECK_THROWS_WITH(
      gate.end_of_step(std::vector<Index>{1}),
      "comet::BalancedTopKGate::end_of_step: load.size() is 1, expected num_experts = 4");
  CHECK_THROWS_WITH(gate.end_of_step(std::vector<Index>{1, 2, -3, 4}),
                    "comet::BalancedTopKGate::end_of_step: load[2] is -3, expected at least 0");
  const std::vector<Index> load(4, 1);
  Pass pass(gate);
  CHECK_THROWS_WITH(gate.end_of_step(load, pass),
                    "comet::BalancedTopKGate::end_of_step: the pass holds no forward(); call it "
                    "first");
  auto quantile = make({.num_experts = 4, .update = BiasUpdate::quantile});
  CHECK_THROWS_WITH(quantile.end_of_step(load),
                    "comet::BalancedTopKGate::end_of_step: the update by quantile takes the scores "
                    "of the step's forward(): end_of_step(load, pass)");
  parameter(gate, "bias")(2, 0) = std::nan("");
  CHECK_THROWS_WITH(test::routed(gate, Matrix<double>::Zero(3, 2)),
                    "comet::BalancedTopKGate::route: the logits of sample 0 overflow or a "
                    "parameter is not finite");
}
