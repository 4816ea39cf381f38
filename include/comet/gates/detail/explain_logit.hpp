// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/explanation.hpp>

/// \file
/// \brief What explanations of all gates share: a logit taken apart, and the entries of a row.

namespace comet::detail {

/// Features shown for a logit.
inline constexpr Index num_explained_parts = 3;

/// \throws std::invalid_argument if x is not one sample of the gate's or a number of names does not
///         fit
/// \throws NotFinite if x is not finite
template <class G>
void check_explainable(const G& gate, const ConstMatrixView<typename G::Scalar>& x,
                       const ExplainNames& names) {
  constexpr const char* where = "explain";
  check_equal(where, "x.cols()", x.cols(), "one sample", 1);
  check_equal(where, "x.rows()", x.rows(), "input_dim", gate.input_dim());
  check_finite<typename G::Scalar>(where, "x", x);
  if (!names.features.empty())
    check_equal(where, "names.features.size()", Index(names.features.size()), "x.rows()", x.rows());
  if (!names.experts.empty())
    check_equal(where, "names.experts.size()", Index(names.experts.size()), "num_experts",
                gate.num_experts());
}

/// The logit w . x + c, whose value the gate has.
template <class S, class W>
typename Explanation<S>::Logit taken_apart(S value, const W& w, S constant, const S* x) {
  std::vector<Index> order(std::size_t(w.size()));
  std::iota(order.begin(), order.end(), Index(0));
  const Index shown = std::min(num_explained_parts, Index(w.size()));
  const auto size = [&](Index l) { return std::abs(w(l) * x[l]); };
  std::partial_sort(order.begin(), order.begin() + shown, order.end(), [&](Index i, Index j) {
    return size(i) > size(j) || (size(i) == size(j) && i < j);
  });
  typename Explanation<S>::Logit logit{.value = value, .constant = constant};
  double rest = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const Index l = order[i];
    if (Index(i) < shown && w(l) * x[l] != S(0)) {
      logit.parts.push_back({l, w(l) * x[l]});
    } else {
      rest += double(w(l)) * double(x[l]);
    }
  }
  logit.rest = S(rest);
  return logit;
}

/// How far x is from where w . x + c changes by `margin`.
template <class S, class W>
S distance_of(S margin, const W& w) {
  const S norm = w.norm();
  return norm > S(0) ? margin / norm : std::numeric_limits<S>::infinity();
}

/// The entries of a row of one sample. \param expert  expert(label) of the routing's labels
template <class S, class Expert>
std::vector<typename Explanation<S>::Entry> relabelled(const Routing<S>& row, Expert expert) {
  RowBuilder<S> builder;
  builder.clear();
  for (std::size_t i = 0; i < row.experts().size(); ++i)
    builder.add(expert(row.experts()[i]), row.weights()[i]);
  Routing<S> routing;
  routing.clear();
  builder.end(routing);
  std::vector<typename Explanation<S>::Entry> entries;
  for (std::size_t i = 0; i < routing.experts().size(); ++i)
    entries.push_back({routing.experts()[i], routing.weights()[i]});
  return entries;
}

}  // namespace comet::detail
