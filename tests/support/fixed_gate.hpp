// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <utility>
#include <vector>

#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>

namespace comet::test {

/// \brief A gate whose routing is given: rows of any length, weights of 0 included. It keeps the
/// derivatives that the layer hands back, of the last backward().
template <class S>
class FixedGate {
 public:
  using Scalar = S;
  struct Workspace {};

  FixedGate(Index num_experts, Routing<S> routing)
      : num_experts_(num_experts), routing_(std::move(routing)) {}

  [[nodiscard]] Index num_experts() const { return num_experts_; }
  [[nodiscard]] Index max_active() const { return num_experts_; }

  void route(const Samples<S>& samples, Routing<S>& routing, Pass<FixedGate>& /*pass*/) const {
    routing = routing_;
    if (samples.mask.empty()) return;
    routing.clear();
    for (Index b = 0; b < routing_.num_samples(); ++b) {
      for (std::size_t i = 0; samples.is_live(b) && i < routing_.experts(b).size(); ++i)
        routing.push(routing_.experts(b)[i], routing_.weights(b)[i]);
      routing.end_sample();
    }
  }
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey /*key*/,
               Pass<FixedGate>& pass) const {
    route(samples, routing, pass);
  }
  void backward(const Samples<S>& /*samples*/, const Routing<S>& /*routing*/,
                std::span<const S> dweights, MatrixView<S> /*dx*/,
                Pass<FixedGate>& /*pass*/) const {
    dweights_.assign(dweights.begin(), dweights.end());
  }
  [[nodiscard]] S regularization(const Pass<FixedGate>& /*pass*/) const { return S(0); }

  [[nodiscard]] const Routing<S>& routing() const { return routing_; }
  [[nodiscard]] const std::vector<S>& dweights() const { return dweights_; }

 private:
  Index num_experts_;
  Routing<S> routing_;
  mutable std::vector<S> dweights_;  // a window into the layer's backward pass, no part of the gate
};

/// \brief Ways to spread B samples over n experts.
enum class Load { random, skewed, idle, full, empty };

/// Rows are of length 0..n; one entry in eight has weight 0.
template <class S>
[[nodiscard]] Routing<S> make_routing(Load load, Index num_experts, Index num_samples,
                                      RandomKey key) {
  Routing<S> routing;
  routing.clear();
  std::uint64_t counter = 0;
  for (Index b = 0; b < num_samples; ++b) {
    const double density = key.uniform(counter++);
    for (Index e = 0; e < num_experts; ++e) {
      const double draw = key.uniform(counter++);
      bool listed = false;
      switch (load) {
        case Load::random:
          listed = draw < density;
          break;
        case Load::skewed:
          listed = e == 0 ? draw < 0.95 : draw < 0.05;
          break;
        case Load::idle:
          listed = e % 2 == 0 && draw < density;
          break;
        case Load::full:
          listed = true;
          break;
        case Load::empty:
          break;
      }
      if (!listed) continue;
      const bool zero = load != Load::full && key.uniform(counter++) < 0.125;
      routing.push(ExpertId(e), zero ? S(0) : S(key.uniform(counter++, 0.1, 1.0)));
    }
    routing.end_sample();
  }
  return routing;
}

}  // namespace comet::test
