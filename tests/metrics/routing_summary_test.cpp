// SPDX-License-Identifier: MIT
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
