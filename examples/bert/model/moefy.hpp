// SPDX-License-Identifier: MIT
#pragma once

#include <functional>

#include <comet/experts/mlp.hpp>
#include <comet/experts/upcycle.hpp>

#include <bert/model/bert.hpp>

namespace programs::bert {

/// \brief A layer's feed-forward block as an expert: the same function.
/// \throws std::invalid_argument if the layer has a mixture
template <class S>
[[nodiscard]] comet::MlpExpert<S> expert_of(const BertLayer<S>& layer);

/// Makes the gate of a layer.
template <class S>
using GateOfLayer = std::function<typename Mixture<S>::Gate(Index layer)>;

/// \brief A student: a dense model whose feed-forward blocks have become mixtures, each expert the
/// block pruned to its units. All else is as it was.
/// \param importance  of importance(): one column a layer
/// \param threads     that share a mixture
/// \throws std::invalid_argument if the options ask for more units than there are, or for none
template <class S>
[[nodiscard]] Bert<S> moefied(const Bert<S>& teacher, const comet::UpcycleOptions& options,
                              const comet::Matrix<S>& importance, const GateOfLayer<S>& make_gate,
                              Index threads = 1);

/// \brief The same with the most important units alone, and no gate: a smaller dense model.
/// \throws std::invalid_argument if there are not so many units
template <class S>
[[nodiscard]] Bert<S> pruned(const Bert<S>& teacher, Index units,
                             const comet::Matrix<S>& importance);

}  // namespace programs::bert
