// SPDX-License-Identifier: MIT
#include <support/catch.hpp>
#include <support/golden.hpp>

#include <algorithm>
#include <limits>
#include <span>
#include <stdexcept>
#include <vector>

#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/experts/upcycle.hpp>

using namespace comet;
using test::golden;
using test::matrix;
using test::relative_error;

namespace {

Matrix<double> predicted(const MlpExpert<double>& expert, const Matrix<double>& x) {
  Matrix<double> y(expert.output_dim(), x.cols()), cache(expert.cache_dim(), x.cols());
  expert.predict(x, y, cache);
  return y;
}

}  // namespace

TEST_CASE("upcycled experts are those of the golden cases") {
  for (const auto& layer : golden("upcycle.json")) {
    const Matrix<double> x = matrix(layer.at("x")), importance = matrix(layer.at("importance"));
    const std::vector<Matrix<double>> weights = {
        matrix(layer.at("hidden_weight")), matrix(layer.at("hidden_bias")),
        matrix(layer.at("output_weight")), matrix(layer.at("output_bias"))};
    MlpExpert<double> block({.input_dim = x.rows(),
                             .hidden_dim = importance.rows(),
                             .output_dim = x.rows(),
                             .activation = Activation::gelu},
                            RandomKey(1));
    std::size_t i = 0;
    for_each_parameter(block, [&](const ParameterName&, auto& p) { p = weights[i++]; });
    const std::span<const double> all(importance.data(), std::size_t(importance.size()));
    for (const auto& split : layer.at("upcycled")) {
      const UpcycleOptions options{split.at("num_experts"), split.at("shared"), split.at("own")};
      CHECK(upcycled_units(options, all) ==
            split.at("units").get<std::vector<std::vector<Index>>>());
      const auto experts = upcycle(block, options, all);
      const Matrix<double> expected = matrix(split.at("outputs"));  // experts side by side
      REQUIRE(Index(experts.size()) == options.num_experts);
      for (Index e = 0; e < options.num_experts; ++e)
        CHECK(relative_error(predicted(experts[std::size_t(e)], x),
                             expected.middleCols(e * x.cols(), x.cols())) < 1e-12);
    }
    for (const auto& split : layer.at("refused"))
      CHECK_THROWS_AS(upcycle(block, {split.at("n"), split.at("shared"), split.at("own")}, all),
                      std::invalid_argument);
  }
}

TEST_CASE("an upcycled expert is the block without the units that it has not") {
  MlpExpert<double> block({.input_dim = 3, .hidden_dim = 7, .output_dim = 2, .dropout = .1},
                          RandomKey(1));
  Matrix<double> x(3, 5);
  RandomKey(2).fill_uniform(x, -1, 1);
  const std::vector<double> importance = {1, 5, 2, 5, 0, 3, 4};
  const UpcycleOptions options{.num_experts = 2, .shared = 3, .own = 2};
  const auto units = upcycled_units(options, std::span(importance));
  CHECK(units == std::vector<std::vector<Index>>{{1, 3, 6, 5, 0}, {1, 3, 6, 2, 4}});
  const auto experts = upcycle(block, options, importance);
  for (std::size_t e = 0; e < experts.size(); ++e) {
    CHECK(experts[e].options().dropout == .1);
    MlpExpert<double> pruned = block;
    std::size_t i = 0;
    for_each_parameter(pruned, [&](const ParameterName&, auto& p) {
      if (i++ != 2) return;  // the output's weights, a row for each unit
      for (Index unit = 0; unit < p.rows(); ++unit)
        if (std::ranges::find(units[e], unit) == units[e].end()) p.row(unit).setZero();
    });
    CHECK(relative_error(predicted(experts[e], x), predicted(pruned, x)) < 1e-14);
  }
  // One expert with every unit is the block.
  CHECK(relative_error(predicted(upcycle(block, {1, 7, 0}, importance)[0], x),
                       predicted(block, x)) < 1e-14);
}

TEST_CASE("what cannot be upcycled is refused") {
  const MlpExpert<float> block({.input_dim = 3, .hidden_dim = 7, .output_dim = 2}, RandomKey(1));
  std::vector<float> importance(7, 1);
  CHECK_THROWS_WITH(upcycle(block, {2, 3, 3}, importance),
                    "comet::upcycle: own is 3, expected at most (hidden_dim - shared) / "
                    "num_experts = 2");
  CHECK_THROWS_WITH(upcycle(block, {2, 8, 0}, importance),
                    "comet::upcycle: shared is 8, expected at most hidden_dim = 7");
  CHECK_THROWS_WITH(upcycle(block, {2, 0, 0}, importance),
                    "comet::upcycle: shared + own is 0, expected at least 1");
  CHECK_THROWS_WITH(upcycle(block, {0, 1, 1}, importance),
                    "comet::upcycle: num_experts is 0, expected at least 1");
  CHECK_THROWS_WITH(upcycle(block, {2, 3, 2}, std::span(importance).first(6)),
                    "comet::upcycle: importance.size() is 6, expected hidden_dim = 7");
  importance[4] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(upcycle(block, {2, 3, 2}, importance), NotFinite);
}
