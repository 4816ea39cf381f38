// SPDX-License-Identifier: MIT
// expect: comet::routing_cost: it is not known what this gate evaluates
#include <comet/inference/routing_cost.hpp>

struct Routes {
  using Scalar = float;
  struct Workspace {};
  comet::Index num_experts() const { return 1; }
  comet::Index max_active() const { return 1; }
  void route(const comet::Samples<float>&, comet::Routing<float>&, comet::Pass<Routes>&) const {}
};

double misuse(const Routes& gate, const comet::Matrix<float>& x) {
  return comet::routing_cost(gate, x);
}
