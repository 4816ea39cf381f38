// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <string_view>
#include <type_traits>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/balance.hpp>
#include <comet/losses/detail/same_shape.hpp>

/// \file
/// \brief Penalties on an uneven load, over the gate's probabilities for ALL experts, not only the
/// ones that were kept: an expert that is never selected must feel them too.
///
/// Two ways to use them: `TopKGateOptions{.load_balance = 0.01}` makes the penalty part of the
/// gate's regularization, so that a training loop need not know of it; or call the functions with
/// the probabilities of a gate of your own.

namespace comet {

namespace detail {

/// The gradient is cleared before the probabilities are read.
template <class S>
void check_balance_gradient(std::string_view where, const MatrixView<S>& gradient,
                            const ConstMatrixView<S>& probabilities) {
  if (gradient.size() == 0) return;
  check_same_shape(where, "gradient", gradient, "probabilities", probabilities);
  check_apart(where, "gradient", gradient, "probabilities", probabilities);
}

}  // namespace detail

/// \brief Load balance (Fedus et al., Switch Transformers, JMLR 2022, Eq. (4)).
///
///     L = n sum_i f_i P_i,   f_i = entries of expert i / all entries,   P_i = 1/B sum_b p(i, b)
///     dL/dp(i, b) = n f_i / B
///
/// L is 1 for an even load, whatever k, and n if one expert gets everything. f is a count and has
/// no gradient.
///
/// \param routing        of B samples: entries whose weight is not 0 count
/// \param probabilities  p, n x B: the gate's softmax over all experts
/// \param gradient       n x B, overwritten by dL/dp; or no_gradient
/// \return L, summed in double; 0 if nothing is routed
/// \throws std::invalid_argument if shapes differ, or the gradient overlaps the probabilities
/// \throws NotFinite if L, as a number of type S, is not finite
template <class S>
double load_balance(const Routing<S>& routing,
                    const ConstMatrixView<std::type_identity_t<S>>& probabilities,
                    MatrixView<std::type_identity_t<S>> gradient) {
  constexpr const char* where = "load_balance";
  routing.validate(where, probabilities.rows(), probabilities.cols());
  detail::check_balance_gradient<S>(where, gradient, probabilities);
  std::vector<double> counts;
  const double loss = detail::load_balance<S>(routing.experts(), routing.weights(), probabilities,
                                              gradient, counts);
  if (!std::isfinite(S(loss))) [[unlikely]] {
    detail::check_finite<S>(where, "probabilities", probabilities);
    detail::raise_not_finite(where, "the loss", "overflows");
  }
  return loss;
}

/// \brief Importance: the squared coefficient of variation of the experts' summed probabilities
/// (Shazeer et al., ICLR 2017, Eq. (7)).
///
///     I_i = sum_b p(i, b),   mu = mean of I,   v = 1/n sum_i (I_i - mu)^2,   L = v / mu^2
///     dL/dp(i, b) = 2 / (n mu^2) (I_i - mu - v / mu)
///
/// L is 0 for an even load, and so is its gradient: no square root is taken anywhere.
///
/// \param probabilities  p, n x B, >= 0
/// \param gradient       n x B, overwritten by dL/dp; or no_gradient
/// \return L, summed in double; 0 if all probabilities are 0
/// \throws std::invalid_argument if shapes differ, or the gradient overlaps the probabilities
/// \throws NotFinite if L, as a number of type S, is not finite
template <class Probabilities>
double importance(const Eigen::DenseBase<Probabilities>& probabilities,
                  MatrixView<typename Probabilities::Scalar> gradient) {
  using S = typename Probabilities::Scalar;
  constexpr const char* where = "importance";
  const ConstMatrixView<S> p(probabilities);
  detail::check_balance_gradient<S>(where, gradient, p);
  std::vector<double> sums;
  const double loss = detail::importance<S>(p, gradient, sums);
  if (!std::isfinite(S(loss))) [[unlikely]] {
    detail::check_finite<S>(where, "probabilities", p);
    detail::raise_not_finite(where, "the loss", "overflows");
  }
  return loss;
}

}  // namespace comet
