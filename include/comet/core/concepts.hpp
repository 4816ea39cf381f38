// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief What the parts of a model must offer. Syntax is checked here; the laws are in the
/// comments and, for gates, in testing/gate_laws.hpp.

namespace comet {

namespace detail {

/// Any callable that a visit_parameters() must accept.
template <class S>
struct AnyParameterVisitor {
  void operator()(const ParameterName&, Eigen::Ref<Matrix<S>>, Eigen::Ref<Matrix<S>>) const {}
};

}  // namespace detail

/// \brief Has parameters: visit_parameters(f) calls f(name, values, gradients) once per tensor, in
/// the same order every time.
template <class P>
concept Parametric = requires(P part, detail::AnyParameterVisitor<typename P::Scalar> visitor) {
  part.visit_parameters(visitor);
};

/// \brief Decides which experts see a sample, and with what weight.
///
/// `Input` is what the gate looks at: ConstMatrixView<Scalar> (features, one sample per column) or
/// std::span<const std::int32_t> (one id per sample).
/// Laws: route() is a function of one sample at a time; weights are >= 0 and sum to at most 1;
/// a row has at most max_active() entries, experts ascending. Checked by testing/gate_laws.hpp.
template <class G>
concept Gate = std::copyable<G> && std::floating_point<typename G::Scalar> &&
    std::default_initializable<typename G::Workspace> &&
    requires(const G gate, const typename G::Input& input, Routing<typename G::Scalar>& routing,
             typename G::Workspace& workspace) {
  { gate.num_experts() } -> std::convertible_to<Index>;
  { gate.max_active() } -> std::convertible_to<Index>;
  gate.route(input, routing, workspace);
};

/// \brief A gate with parameters and gradients.
///
/// forward() is route() in training: it may add noise drawn from `key` and leaves in the workspace
/// what backward() needs. backward() takes one derivative per entry of the routing and adds to the
/// gradients and to dx (d x B; an empty view if it is not wanted). regularization() is the penalty
/// of the last forward(); backward() includes its gradient.
template <class G>
concept TrainableGate = Gate<G> && Parametric<G> &&
    requires(G gate, const G const_gate, const typename G::Input& input,
             Routing<typename G::Scalar>& routing, typename G::Workspace& workspace, RandomKey key,
             std::span<const typename G::Scalar> dweights, MatrixView<typename G::Scalar> dx) {
  const_gate.forward(input, routing, key, workspace);
  gate.backward(input, routing, dweights, dx, workspace);
  { const_gate.regularization(workspace) } -> std::convertible_to<typename G::Scalar>;
};

/// \brief The columns an expert works on in training: which sample each belongs to, and the key
/// that random numbers about (expert, sample) are folded from.
struct TrainingTile {
  RandomKey key;                      ///< Random numbers about (expert, sample) are folded from it.
  std::span<const SampleId> samples;  ///< columns beyond these are padding
};

/// \brief A function applied to each column by itself, with parameters.
///
/// The layer calls it on blocks of columns: x is d x width, y is m x width. `cache` is cache_dim()
/// x width: forward() fills it, backward finds it again; predict() may use it as scratch. Columns
/// may be padding: finite in, anything finite out. An expert whose result for a column does not
/// depend on the width of the block, bit for bit, can say `static constexpr bool
/// independent_columns = true;` and gets no padding; a product by Eigen does depend on it.
template <class E>
concept ExpertFunction = std::copyable<E> && Parametric<E> &&
    std::floating_point<typename E::Scalar> &&
    requires(const E expert, const ConstMatrixView<typename E::Scalar>& x,
             MatrixView<typename E::Scalar> out, const TrainingTile& tile) {
  { expert.input_dim() } -> std::convertible_to<Index>;
  { expert.output_dim() } -> std::convertible_to<Index>;
  { expert.cache_dim() } -> std::convertible_to<Index>;
  expert.predict(x, out, out);
  expert.forward(x, out, out, tile);
};

/// \brief An expert whose backward pass is one call over all its samples, in order.
///
/// backward(x, y, cache, dy, dx): adds to the gradients and writes dx, unless dx is empty; it may
/// overwrite dy and cache. The layer runs different experts in parallel.
template <class E>
concept WholeBackwardExpert = ExpertFunction<E> &&
    requires(E expert, const ConstMatrixView<typename E::Scalar>& x,
             MatrixView<typename E::Scalar> out) {
  expert.backward(x, x, out, out, out);
};

/// \brief An expert whose backward pass can be spread over threads without changing a sum.
///
/// backward_columns(x, y, cache, dy, dx) handles a block of columns by itself: it writes dx and
/// leaves in dy and cache what accumulate_gradients(x, cache, dy, slice) needs, which adds one of
/// num_slices() disjoint parts of the parameter gradients over all columns of the expert.
template <class E>
concept SplitBackwardExpert = ExpertFunction<E> &&
    requires(E expert, const E const_expert, const ConstMatrixView<typename E::Scalar>& x,
             MatrixView<typename E::Scalar> out, Index slice) {
  const_expert.backward_columns(x, x, out, out, out);
  { const_expert.num_slices() } -> std::convertible_to<Index>;
  expert.accumulate_gradients(x, x, x, slice);
};

template <class E>
concept Expert = WholeBackwardExpert<E> || SplitBackwardExpert<E>;

/// \brief Changes a model's parameters by its gradients and sets the gradients to zero.
template <class O, class Model>
concept Optimizer = requires(O optimizer, Model model) {
  optimizer.step(model);
};

}  // namespace comet
