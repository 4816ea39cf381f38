// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/storage.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief What the parts of a model must offer, and what a gate may offer beyond. Syntax is checked
/// here; the laws are in the comments and, for gates, in testing/gate_laws.hpp.
///
/// One grammar for every part: what comes in, what goes out, the key if it trains, the pass.
/// Outputs are overwritten, gradients are added to, inputs are left alone.

namespace comet {

/// \brief Routes: decides which experts see a sample, and with what weight.
///
/// Laws: route() is a function of one sample at a time, unless the gate says otherwise by
/// `static constexpr bool depends_on_batch = true`; weights are >= 0 and sum to 1 unless the gate
/// says otherwise (testing::GateLawOptions: sums_to_one, at_most_one); a row has at most
/// max_active() entries, experts ascending; a masked sample has an empty row. Checked by
/// testing/gate_laws.hpp.
template <class G>
concept RoutingGate = std::copyable<G> && std::floating_point<typename G::Scalar> &&
    std::default_initializable<typename G::Workspace> &&
    requires(const G gate, const Samples<typename G::Scalar>& samples,
             Routing<typename G::Scalar>& routing, Pass<G>& pass) {
  { gate.num_experts() } -> std::convertible_to<Index>;
  { gate.max_active() } -> std::convertible_to<Index>;
  gate.route(samples, routing, pass);
};

/// \brief Trains: has gradients.
///
/// forward() is route() in training: it may add noise drawn from `key` and leaves in the pass what
/// backward() needs. backward() takes one derivative per entry of the routing and adds to
/// pass.gradients(gate) and to dx (d x B, or no_gradient). regularization() is the penalty of the
/// last forward(); backward() includes its gradient.
template <class G>
concept TrainableGate = RoutingGate<G> &&
    requires(const G gate, const Samples<typename G::Scalar>& samples,
             Routing<typename G::Scalar>& routing, Pass<G>& pass, RandomKey key,
             std::span<const typename G::Scalar> dweights, MatrixView<typename G::Scalar> dx) {
  gate.forward(samples, routing, key, pass);
  gate.backward(samples, routing, dweights, dx, pass);
  { gate.regularization(pass) } -> std::convertible_to<typename G::Scalar>;
};

/// \brief Has selectors: its weight is a sum over trees or selectors, and it can hand them out one
/// by one. Slot i k + j is expert i of selector j; summing an expert's k slots gives route().
template <class G>
concept SelectorGate = RoutingGate<G> &&
    requires(const G gate, const Samples<typename G::Scalar>& samples,
             Routing<typename G::Scalar>& routing, Pass<G>& pass, RandomKey key) {
  { gate.num_selectors() } -> std::convertible_to<Index>;
  gate.route_slots(samples, routing, pass);
  gate.forward_slots(samples, routing, key, pass);
};

/// \brief The columns an expert works on in training: which sample each belongs to, and the key
/// that random numbers about (expert, sample) are folded from.
struct TrainingTile {
  RandomKey key;                      ///< Random numbers about (expert, sample) are folded from it.
  std::span<const SampleId> samples;  ///< columns beyond these are padding
  Index first = 0;                    ///< number of sample 0 in a batch of which this is a piece

  /// Random numbers about the sample of a column are folded from it, on whichever rank it is.
  [[nodiscard]] RandomKey key_of(std::size_t column) const {
    return key.fold(std::uint64_t(first + Index(samples[column])));
  }
};

/// \brief Predicts: a function applied to each column by itself, what a layer takes as an expert.
/// One that can do no more than this is frozen.
///
/// A bank calls it on blocks of columns: x is d x width, y is m x width. `cache` is cache_dim() x
/// width, scratch. Columns may be padding: finite in, anything finite out. cost() is the number of
/// multiply-adds of one column. An expert whose result for a column does not depend on the width of
/// the block, bit for bit, can say `static constexpr bool independent_columns = true;` and gets no
/// padding; a product by Eigen does depend on it. Experts of one layer may differ in everything but
/// input_dim() and output_dim().
template <class E>
concept PredictingExpert = std::copyable<E> && std::floating_point<typename E::Scalar> &&
    requires(const E expert, const ConstMatrixView<typename E::Scalar>& x,
             MatrixView<typename E::Scalar> out) {
  { expert.input_dim() } -> std::convertible_to<Index>;
  { expert.output_dim() } -> std::convertible_to<Index>;
  { expert.cache_dim() } -> std::convertible_to<Index>;
  { expert.cost() } -> std::convertible_to<double>;
  expert.predict(x, out, out);
};

/// \brief A function of columns with parameters, that knows training from prediction: forward()
/// fills the cache, backward finds it again.
template <class E>
concept ExpertFunction = PredictingExpert<E> && Parametric<E> &&
    requires(const E expert, const ConstMatrixView<typename E::Scalar>& x,
             MatrixView<typename E::Scalar> out, const TrainingTile& tile) {
  expert.forward(x, out, out, tile);
};

/// \brief An expert whose backward pass is one call over all its samples, in order.
///
/// backward(x, y, cache, dy, dx, gradients): adds to the gradients and to dx, unless that is
/// no_gradient. dy and cache are the expert's to use up: nobody reads them again.
template <class E>
concept WholeBackwardExpert = ExpertFunction<E> &&
    requires(const E expert, const ConstMatrixView<typename E::Scalar>& x,
             MatrixView<typename E::Scalar> out, GradientView<typename E::Scalar> gradients) {
  expert.backward(x, x, out, out, out, gradients);
};

/// \brief An expert whose backward pass can be spread over threads without changing a sum.
///
/// backward_columns(x, y, cache, dy, dx) handles a block of columns by itself: it adds to dx and
/// leaves in dy and cache what accumulate_gradients(x, cache, dy, slice, gradients) needs, which
/// adds one of num_slices() disjoint parts of the parameter gradients over all columns of the
/// expert. Where it does not look at x it can say
/// `static constexpr bool reads_input_back = false;` and x is not gathered for it: what it gets has
/// the shape of x and any numbers.
template <class E>
concept SplitBackwardExpert = ExpertFunction<E> &&
    requires(const E expert, const ConstMatrixView<typename E::Scalar>& x,
             MatrixView<typename E::Scalar> out, Index slice,
             GradientView<typename E::Scalar> gradients) {
  expert.backward_columns(x, x, out, out, out);
  { expert.num_slices() } -> std::convertible_to<Index>;
  expert.accumulate_gradients(x, x, x, slice, gradients);
};

namespace detail {

/// Whether backward_columns() looks at x.
template <class E>
inline constexpr bool reads_input_back = !requires {
  requires !E::reads_input_back;
};

}  // namespace detail

/// \brief A function of columns that can be a part of larger ones: its backward pass can be split,
/// and a column's bits do not depend on its neighbours, which it says by
/// `static constexpr bool independent_columns = true`.
///
/// What a chain of them (experts/chain.hpp) is made of, and is itself. Layers that are one: Dense,
/// Convolution2d, MaxPool2d. `cache` is all that a column leaves for its backward pass, beside x
/// and y.
template <class F>
concept ColumnFunction = SplitBackwardExpert<F> && requires {
  requires F::independent_columns;
};

/// \brief An expert that can be trained: either form of the backward pass.
template <class E>
concept TrainableExpert = WholeBackwardExpert<E> || SplitBackwardExpert<E>;

/// \brief An expert that can be frozen: into one that only predicts, its weights kept as told.
template <class E>
concept FreezableExpert = PredictingExpert<E> && requires(const E expert, Storage storage) {
  { expert.freeze(storage) } -> PredictingExpert;
};

/// \brief Changes a model's parameters by its gradients and sets the gradients to zero.
template <class O, class Model>
concept ModelOptimizer = requires(O optimizer, Model model,
                                  GradientView<typename Model::Scalar> gradients) {
  optimizer.step(model, gradients);
};

}  // namespace comet
