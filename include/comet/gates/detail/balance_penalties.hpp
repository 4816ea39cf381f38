// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/rank_sum.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/options.hpp>
#include <comet/gates/detail/spread_penalty.hpp>
#include <comet/kernels/balance.hpp>
#include <comet/kernels/softmax.hpp>

namespace comet::detail {

/// \brief The penalties on an uneven load, and on undecided rows, of a gate with a logit per
/// expert, and their derivatives by the logits. One column per sample that is no padding.
template <class S>
class BalancePenalties {
 public:
  /// \param options  have load_balance, importance, router_z, entropy and spread
  template <class Options>
  static bool wanted(const Options& options) {
    return options.load_balance > 0 || options.importance > 0 || options.router_z > 0 ||
           SoftmaxPenalties<S>::wanted(options);
  }

  /// Refuses strengths below 0.
  template <class Options>
  static void check(std::string_view where, const Options& options) {
    check_not_negative_as<S>(where, "load_balance", options.load_balance);
    check_not_negative_as<S>(where, "importance", options.importance);
    check_not_negative_as<S>(where, "router_z", options.router_z);
    check_row_penalties<S>(where, options);
  }

  /// The sum of the penalties, each times its strength; 0 if none is wanted.
  template <class Options>
  S evaluate(std::string_view where, const Options& options, const Routing<S>& routing,
             const ConstMatrixView<S>& logits, const RankSum& ranks = {}) {
    if (!wanted(options)) return S(0);
    const Index n = logits.rows();
    const Index size = logits.cols();
    auto by_logit = by_logit_.shape(n, size);
    auto probabilities = probabilities_.shape(n, size);
    auto by_probability = by_probability_.shape(n, size);
    auto term = term_.shape(n, size);
    by_logit.setZero();
    by_probability.setZero();
    S total = 0;
    const auto add = [&](const char* name, double strength, auto& sum, auto&& penalty) {
      if (strength == 0) return;
      const S value = S(penalty());
      if (!std::isfinite(value)) [[unlikely]]
        raise_not_finite(where, std::string("the penalty ") + name, "overflows");
      total += S(strength) * value;
      sum += S(strength) * term;
    };
    add("router_z", options.router_z, by_logit,
        [&] { return detail::router_z<S>(logits, term, ranks); });
    for (Index b = 0; b < size; ++b) softmax(logits.col(b).data(), n, probabilities.col(b).data());
    add("load_balance", options.load_balance, by_probability, [&] {
      return detail::load_balance<S>(routing.experts(), routing.weights(), probabilities, term,
                                     by_expert_, ranks);
    });
    add("importance", options.importance, by_probability,
        [&] { return detail::importance<S>(probabilities, term, by_expert_, ranks); });
    if (SoftmaxPenalties<S>::wanted(options)) {
      total += S(rows_.evaluate(options, probabilities, ranks));
      for (Index b = 0; b < size; ++b)
        for (Index i = 0; i < n; ++i)
          by_probability(i, b) += rows_.derivative(i, probabilities(i, b));
    }
    for (Index b = 0; b < size; ++b)
      add_softmax_backward(probabilities.col(b).data(), by_probability.col(b).data(), n,
                           by_logit.col(b).data());
    return total;
  }

  /// Derivative of the last evaluate() by a logit.
  [[nodiscard]] S by_logit(Index expert, Index column) const {
    return by_logit_.matrix()(expert, column);
  }

 private:
  Buffer<S> probabilities_;   // n x B: softmax over all logits
  Buffer<S> by_probability_;  // n x B
  Buffer<S> by_logit_;        // n x B
  Buffer<S> term_;            // n x B: of one penalty
  SoftmaxPenalties<S> rows_;
  std::vector<double> by_expert_;  // n: what one penalty sums over the samples
};

}  // namespace comet::detail
