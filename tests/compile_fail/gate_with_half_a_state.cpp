// SPDX-License-Identifier: MIT
// expect: comet: this part has visit_state(f), but not all of Stateful
#include <span>

#include <comet/gates/any.hpp>

struct Counting {
  using Scalar = float;
  struct Workspace {};
  comet::Index num_experts() const { return 1; }
  comet::Index max_active() const { return 1; }
  void route(const comet::Samples<float>& samples, comet::Routing<float>& routing,
             comet::Pass<Counting>&) const {
    routing.clear();
    for (comet::Index b = 0; b < samples.size(); ++b) {
      routing.push(0, 1);
      routing.end_sample();
    }
  }
  void visit_state(const auto& f) { f("batches", std::span<double>(&batches, 1)); }
  void restored() {}
  double batches = 0;
};

int main() { comet::AnyGate<float> gate{Counting()}; }
