// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>

namespace bench {

/// \brief How samples spread over experts.
enum class Skew {
  uniform,  ///< the same number of samples for each
  zipf,     ///< expert e is drawn with probability proportional to 1 / (e + 1)
};

inline const char* name(Skew skew) { return skew == Skew::uniform ? "uniform" : "zipf"; }

/// A routing of k experts of weight 1/k per sample.
template <class S>
comet::Routing<S> make_routing(comet::Index n, comet::Index k, comet::Index num_samples,
                               Skew skew) {
  comet::Routing<S> routing;
  routing.clear();
  double total = 0;
  for (comet::Index e = 0; e < n; ++e) total += 1.0 / double(e + 1);
  std::uint64_t counter = 0;
  std::vector<comet::ExpertId> row;
  for (comet::Index b = 0; b < num_samples; ++b) {
    row.clear();
    while (comet::Index(row.size()) < k) {
      comet::Index expert = (b * k + comet::Index(row.size())) % n;
      if (skew == Skew::zipf) {
        double draw = comet::RandomKey(1).uniform(counter++) * total;
        for (expert = 0; expert + 1 < n && draw > 1.0 / double(expert + 1); ++expert)
          draw -= 1.0 / double(expert + 1);
      }
      if (std::find(row.begin(), row.end(), expert) == row.end())
        row.push_back(comet::ExpertId(expert));
    }
    std::sort(row.begin(), row.end());
    for (const auto expert : row) routing.push(expert, S(1) / S(k));
    routing.end_sample();
  }
  return routing;
}

/// \brief A gate that always says the same, so that a layer is timed without its gate.
template <class S>
class PlannedGate {
 public:
  using Scalar = S;
  struct Workspace {};

  PlannedGate(comet::Index n, comet::Routing<S> routing) : n_(n), routing_(std::move(routing)) {}

  [[nodiscard]] comet::Index num_experts() const { return n_; }
  [[nodiscard]] comet::Index max_active() const { return n_; }
  void route(const comet::Samples<S>&, comet::Routing<S>& routing,
             comet::Pass<PlannedGate>&) const {
    routing = routing_;
  }

 private:
  comet::Index n_;
  comet::Routing<S> routing_;
};

}  // namespace bench
