// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/hash.hpp>
#include <comet/metrics/routing.hpp>
#include <comet/moe_layer.hpp>

#include <support/catch.hpp>

using namespace comet;

namespace {

/// Gates by tables: for each task, the expert of ids 0 and 1.
std::string summary_of(const std::vector<std::vector<ExpertId>>& tables) {
  std::vector<HashGate<double>> gates;
  for (const auto& table : tables) gates.emplace_back(table, 2);
  const MoeLayer layer(std::move(gates), make_experts<DenseExpert<double>>(
                                             2, {.input_dim = 1, .output_dim = 1}, RandomKey(1)));
  const Matrix<double> x = Matrix<double>::Ones(1, 2);
  const std::vector<std::int32_t> ids = {0, 1};
  Matrix<double> y(1, 2 * layer.num_tasks());
  Pass pass(layer);
  layer.predict(Samples{x, ids}, y, pass);
  return summary(pass);
}

}  // namespace

TEST_CASE("summary: a line per task, which says whose it is where there are several", "[metrics]") {
  CHECK(summary_of({{0, 1}}) == "1.0 experts per sample, 1.0 by weight; the batch uses 2.0 of 2");
  CHECK(summary_of({{0, 1}, {1, 1}}) ==
        "task 0: 1.0 experts per sample, 1.0 by weight; the batch uses 2.0 of 2\n"
        "task 1: 1.0 experts per sample, 1.0 by weight; the batch uses 1.0 of 2");
}

TEST_CASE("summarize refuses what is no share", "[metrics][error]") {
  const auto of = [](double weight) {
    Routing<double> routing;
    routing.push(0, 0.5);
    routing.push(1, weight);
    routing.end_sample();
    return summarize(routing, 2);
  };
  CHECK(of(0.5).effective_experts == Approx(2));
  CHECK_THROWS_WITH(of(-1), "comet::summarize: a weight is -1, expected finite and at least 0");
  CHECK_THROWS_WITH(of(std::nan("")),
                    "comet::summarize: a weight is nan, expected finite and at least 0");
  CHECK_THROWS_WITH(of(HUGE_VAL),
                    "comet::summarize: a weight is inf, expected finite and at least 0");
  CHECK_THROWS_WITH(summarize(Routing<double>(), -1),
                    "comet::summarize: num_experts is -1, expected at least 0");
  CHECK(summarize(Routing<double>(), 0).num_rows == 0);
}
