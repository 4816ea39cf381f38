// SPDX-License-Identifier: MIT
#pragma once

#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>

namespace bench {

/// \brief Makes a layer evaluate every expert for every sample: experts that the gate leaves out
/// get a weight too small to be seen, but not 0.
///
/// This is what the published COMET code does (it multiplies by the zeros), on our engine.
template <class G>
class EveryExpert {
 public:
  using Scalar = typename G::Scalar;

  class Workspace {
    friend class EveryExpert;
    comet::Pass<G> inner;
    comet::Routing<Scalar> chosen;
    std::vector<Scalar> dchosen;
  };

  explicit EveryExpert(G gate) : gate_(std::move(gate)) {}

  [[nodiscard]] comet::Index num_experts() const { return gate_.num_experts(); }
  [[nodiscard]] comet::Index max_active() const { return gate_.num_experts(); }

  void route(const comet::Samples<Scalar>& samples, comet::Routing<Scalar>& routing,
             comet::Pass<EveryExpert>& pass) const {
    Workspace& ws = pass.workspace;
    ws.inner.pool = pass.pool;
    gate_.route(samples, ws.chosen, ws.inner);
    fill(routing, ws);
  }
  void forward(const comet::Samples<Scalar>& samples, comet::Routing<Scalar>& routing,
               comet::RandomKey key, comet::Pass<EveryExpert>& pass) const {
    Workspace& ws = pass.workspace;
    ws.inner.pool = pass.pool;
    gate_.forward(samples, ws.chosen, key, ws.inner);
    fill(routing, ws);
  }
  void backward(const comet::Samples<Scalar>& samples, const comet::Routing<Scalar>& /*routing*/,
                std::span<const Scalar> dweights, comet::MatrixView<Scalar> dx,
                comet::Pass<EveryExpert>& pass) const {
    Workspace& ws = pass.workspace;
    ws.inner.borrow(pass.gradients(*this));
    ws.dchosen.clear();
    for (comet::Index b = 0; b < ws.chosen.num_samples(); ++b)
      for (const auto expert : ws.chosen.experts(b))
        ws.dchosen.push_back(dweights[std::size_t(b * num_experts() + expert)]);
    gate_.backward(samples, ws.chosen, std::span<const Scalar>(ws.dchosen), dx, ws.inner);
  }
  [[nodiscard]] Scalar regularization(const comet::Pass<EveryExpert>& pass) const {
    return gate_.regularization(pass.workspace.inner);
  }
  template <class F>
  void visit(F&& f) const {
    gate_.visit(f);
  }

 private:
  /// Next to weights of a chosen expert; far from the denormal numbers, which cost some processors
  /// much time.
  static constexpr double unseen = 1e-9;

  void fill(comet::Routing<Scalar>& routing, const Workspace& ws) const {
    routing.clear();
    for (comet::Index b = 0; b < ws.chosen.num_samples(); ++b) {
      const auto experts = ws.chosen.experts(b);
      const auto weights = ws.chosen.weights(b);
      std::size_t next = 0;
      for (comet::ExpertId e = 0; e < num_experts(); ++e) {
        const bool is_chosen = next < experts.size() && experts[next] == e;
        routing.push(e, is_chosen ? weights[next++] : Scalar(unseen));
      }
      routing.end_sample();
    }
  }

  G gate_;
};

}  // namespace bench
