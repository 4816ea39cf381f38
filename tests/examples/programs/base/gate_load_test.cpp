// SPDX-License-Identifier: MIT
#include <cmath>
#include <vector>

#include <comet/core/routing.hpp>

#include <programs/base/figures.hpp>
#include <programs/base/gate_load.hpp>

#include <support/catch.hpp>

using comet::ExpertId;
using programs::describe_gates;
using programs::Figures;
using programs::GateLoad;

namespace {

/// A row of equal weights for each list of experts, in two batches.
GateLoad load_of(const std::vector<std::vector<ExpertId>>& rows, comet::Index num_experts) {
  GateLoad load(num_experts);
  for (std::size_t half : {std::size_t(0), std::size_t(1)}) {
    comet::Routing<float> routing;
    routing.clear();
    for (std::size_t i = half; i < rows.size(); i += 2) {
      for (const ExpertId expert : rows[i])
        routing.push(expert, 1.0F / static_cast<float>(rows[i].size()));
      routing.end_sample();
    }
    load.add(routing);
  }
  return load;
}

Figures figures_of(const std::vector<GateLoad>& loads) {
  Figures figures;
  describe_gates(loads, figures);
  return figures;
}

}  // namespace

TEST_CASE("gate loads: what samples and experts have to do with each other", "[programs][load]") {
  const GateLoad differs = load_of({{0}, {1}, {2}, {3}}, 4);
  const GateLoad constant = load_of({{0, 2}, {0, 2}, {0, 2}, {0, 2}, {0, 2}}, 4);
  const Figures figures = figures_of({differs, constant});
  CHECK(figures.experts_per_sample_by_task == std::vector<double>{1, 2});
  CHECK(figures.experts_per_sample == Approx(1.5));
  CHECK(figures.effective_experts[0] == Approx(4));
  CHECK(figures.effective_experts[1] == Approx(2));
  CHECK(figures.mean_effective_experts() == Approx(3));
  CHECK(figures.mutual_information[0] == Approx(std::log(4.0)));
  CHECK(figures.mutual_information[1] < 1e-12);
}

TEST_CASE("figures: a gate that has become a constant is named", "[programs][load]") {
  const GateLoad differs = load_of({{0}, {1}, {2}, {3}}, 4);
  const GateLoad constant = load_of({{0, 2}, {0, 2}, {0, 2}, {0, 2}}, 4);
  const GateLoad everything = load_of({{0, 1, 2, 3}, {0, 1, 2, 3}}, 4);
  CHECK(constant_gates(figures_of({differs, everything})).empty());
  CHECK(constant_gates(figures_of({differs, constant})) ==
        "the gate of task 2 sends all samples to the same 2.0 of 4 experts");
  CHECK(constant_gates(figures_of({constant})) ==
        "the gate sends all samples to the same 2.0 of 4 experts");
  CHECK(constant_gates(Figures()).empty());
}
