// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/gates/detail/balance_penalties.hpp>
#include <comet/gates/detail/explain_linear.hpp>
#include <comet/gates/detail/live_tiles.hpp>
#include <comet/gates/detail/logit_gradients.hpp>
#include <comet/gates/detail/options.hpp>
#include <comet/gates/detail/top_k_selection.hpp>
#include <comet/gates/explanation.hpp>
#include <comet/gates/frozen.hpp>
#include <comet/gates/hyperplanes.hpp>
#include <comet/kernels/functions.hpp>

namespace comet {

/// \brief Which logits the weights of a Top-k gate are normalised over.
enum class TopKSoftmax {
  selected,  ///< over the k selected ones: weights sum to 1 (Shazeer et al., 2017)
  all,       ///< over all n, then the k largest are kept: trains for k = 1 too (Switch)
};

/// Settings of a TopKGate, with defaults where there is a sensible one.
struct TopKGateOptions {
  Index input_dim = 0;                          ///< d >= 1
  Index num_experts = 0;                        ///< n >= 1
  Index k = 2;                                  ///< experts per sample, 1 <= k <= n
  TopKSoftmax softmax = TopKSoftmax::selected;  ///< What the weights are normalised over.
  bool noise = false;         ///< add learned Gaussian noise to the logits in training
  double load_balance = 0.0;  ///< strength of the penalty comet::load_balance, >= 0
  double importance = 0.0;    ///< strength of the penalty comet::importance, >= 0
  double router_z = 0.0;      ///< strength of the penalty comet::router_z, >= 0
  double entropy = 0.0;       ///< strength of the penalty on undecided rows, >= 0
  double spread = 0.0;        ///< strength of the reward for even use, >= 0
};

/// \brief Top-k: the k largest of n linear logits, softmax over them, 0 elsewhere.
///
///     h = W^T x + b,  T = the k largest of h,  g_i = softmax(h_T)_i for i in T  [S, Eq. (3)-(5)]
///
///     with noise, in training:  h_i += N(0,1) softplus(u_i . x)                 [S, Eq. (4)]
///
/// [S] Shazeer et al., Outrageously Large Neural Networks, ICLR 2017. Ties go to the smaller index,
/// and a selected logit that is exactly 0 stays selected. Which experts are selected has no
/// gradient: an expert that is not selected learns nothing from the sample. Training can therefore
/// settle on a few experts. The options load_balance, importance, router_z and spread add penalties
/// against that, over all n logits of training (noise included), and so does entropy, against rows
/// whose softmax is undecided: they are part of regularization(), through
/// MoeLayer::regularization() part of the loss, and backward() includes their gradient.
///
/// With k = 1 and TopKSoftmax::selected the only weight is 1 and the gate has no gradient at all:
/// use TopKSoftmax::all there.
///
/// \par Cost     d n multiply-adds per sample and a partial selection; backward 2 d k
///               (2 d n with TopKSoftmax::all or a penalty)
/// \par Threads  const throughout: concurrent calls are safe with distinct routings and passes
/// \tparam S     float or double
/// \see CometGate, whose selection is differentiable
/// \see docs/math.md, equations (9)-(10) and (31)
template <class S>
class TopKGate {
 public:
  using Scalar = S;                                  ///< float or double.
  using Options = TopKGateOptions;                   ///< Settings of the constructor.
  static constexpr std::string_view name = "top_k";  ///< What options and tables call it.
  class Workspace;

  /// Weights and biases uniform in +-1/sqrt(d); noise weights 0.
  /// \throws std::invalid_argument if an option is outside its bounds
  TopKGate(TopKGateOptions options, RandomKey key)
      : options_(validated(options)), logits_(options.input_dim, options.num_experts) {
    logits_.initialize(1.0 / std::sqrt(double(options.input_dim)), key);
    if (options.noise)
      noise_.emplace(options.input_dim, options.num_experts, Hyperplanes<S>::Offsets::none);
  }

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return options_.num_experts; }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const noexcept { return options_.k; }
  /// The settings in use.
  [[nodiscard]] const TopKGateOptions& options() const noexcept { return options_; }

  /// \brief Routes a batch, without noise. \param samples  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim()
  /// \throws NotFinite if x or a logit is not finite
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<TopKGate>& pass) const {
    begin("TopKGate::route", samples, pass);
    evaluate("TopKGate::route", samples, routing, false, pass);
  }

  /// \brief route() that remembers what backward() needs, with noise drawn from `key` if the gate
  /// has it.
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
               Pass<TopKGate>& pass) const;

  /// \brief forward() with given noise instead of drawn one, to replay a run.
  /// \param noise  n x B draws of N(0,1)
  /// \throws std::invalid_argument if the gate was made without noise
  void forward(const Samples<S>& samples, const ConstMatrixView<S>& noise, Routing<S>& routing,
               Pass<TopKGate>& pass) const;

  /// \brief Adds the gradients of sum(dweights . weights) + regularization.
  /// \param samples, routing  as in the forward() that filled the pass
  /// \param dweights          one derivative per entry of the routing
  /// \param dx                d x B, added to; or no_gradient
  /// \throws std::invalid_argument if the pass holds no forward() of this batch
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<TopKGate>& pass) const;

  /// \brief The penalties of the last forward(), each times its strength; 0 without any.
  [[nodiscard]] S regularization(const Pass<TopKGate>& pass) const noexcept {
    return pass.workspace.regularization_;
  }

  /// \brief A gate that routes to the same bits and does nothing else. Noise is for training: it is
  /// left out. \see FreezableGate
  /// \throws NotFinite naming the parameter that is not finite
  [[nodiscard]] FrozenTopKGate<S> freeze(std::span<const Permutation> permutations = {}) const {
    detail::check_freezable(*this, permutations, 1);
    return {TopKTables<S>{options_.k, options_.softmax == TopKSoftmax::all, logits_},
            detail::slot_labels(permutations, num_experts(), 1)};
  }

  /// \brief Which experts it took against which, and by what features. \see ExplainableGate
  [[nodiscard]] Explanation<S> explain(const ConstMatrixView<S>& x,
                                       std::span<const Permutation> permutations = {},
                                       const ExplainNames& names = {}) const {
    detail::check_explainable(*this, x, names);
    Pass<TopKGate> pass(*this);
    Routing<S> row;
    route(x, row, pass);
    return detail::explain_linear(logits_, x, row, permutations, names);
  }

  /// Calls f(name, parameter) for each tensor, always in the same order.
  template <class F>
  void visit(F&& f) const {
    logits_.visit(f);
    if (noise_) f("noise", *noise_);
  }

 private:
  static TopKGateOptions validated(const TopKGateOptions& options) {
    detail::check_at_least("TopKGate", "input_dim", options.input_dim, 1);
    detail::check_selection("TopKGate", options);
    detail::BalancePenalties<S>::check("TopKGate", options);
    return options;
  }

  /// Takes stock of the batch; what the pass held is gone.
  void begin(std::string_view where, const Samples<S>& samples, Pass<TopKGate>& pass) const;
  void finish_forward(const Samples<S>& samples, Routing<S>& routing, Pass<TopKGate>& pass) const;
  void evaluate(std::string_view where, const Samples<S>& samples, Routing<S>& routing, bool noisy,
                Pass<TopKGate>& pass) const;
  void fill_logits(const S* const* columns, Index first, Index count, bool noisy,
                   Workspace& workspace) const;
  template <class Add>
  void by_logits(Index live, Index sample, const Routing<S>& routing, std::span<const S> dweights,
                 const Workspace& workspace, Add add) const;

  TopKGateOptions options_;
  Hyperplanes<S> logits_;                // d x n
  std::optional<Hyperplanes<S>> noise_;  // d x n
  detail::Identity identity_;
};

/// \brief Scratch of a TopKGate. Its matrices have a column per sample that is no padding.
template <class S>
class TopKGate<S>::Workspace {
  friend class TopKGate;

  LiveSamples live_;
  Buffer<S> logits_;       // n x B
  Buffer<S> noise_;        // n x B
  Buffer<S> noise_scale_;  // n x B, before the softplus
  detail::BalancePenalties<S> penalties_;
  std::vector<ExpertId> order_;      // n per tile, scratch of the selection
  std::vector<std::int32_t> sizes_;  // k each, 0 for padding
  detail::LogitGradients<S> logit_gradients_;
  detail::LogitGradients<S> noise_gradients_;
  detail::GateForward forward_;  // that backward() may follow
  S regularization_ = 0;
};

template <class S>
void TopKGate<S>::begin(std::string_view where, const Samples<S>& samples,
                        Pass<TopKGate>& pass) const {
  pass.workspace.forward_.clear();
  pass.workspace.regularization_ = 0;
  samples.validate(where, input_dim());
  pass.workspace.live_.assign(samples);
}

template <class S>
void TopKGate<S>::forward(const Samples<S>& samples, Routing<S>& routing, RandomKey key,
                          Pass<TopKGate>& pass) const {
  auto& ws = pass.workspace;
  begin("TopKGate::forward", samples, pass);
  if (noise_) {
    auto noise = ws.noise_.shape(num_experts(), ws.live_.size());
    for (Index b = 0; b < noise.cols(); ++b) {
      const RandomKey own = key.fold(samples.first + ws.live_[b]);
      for (Index i = 0; i < num_experts(); ++i) noise(i, b) = S(own.normal(std::uint64_t(i)));
    }
  }
  finish_forward(samples, routing, pass);
}

template <class S>
void TopKGate<S>::forward(const Samples<S>& samples, const ConstMatrixView<S>& noise,
                          Routing<S>& routing, Pass<TopKGate>& pass) const {
  constexpr const char* where = "TopKGate::forward";
  auto& ws = pass.workspace;
  if (!noise_) detail::raise(where, "the gate was made without noise");
  detail::check_equal(where, "noise.rows()", noise.rows(), "num_experts", num_experts());
  detail::check_equal(where, "noise.cols()", noise.cols(), "x.cols()", samples.size());
  begin(where, samples, pass);
  auto kept = ws.noise_.shape(num_experts(), ws.live_.size());
  for (Index b = 0; b < kept.cols(); ++b) kept.col(b) = noise.col(ws.live_[b]);
  finish_forward(samples, routing, pass);
}

template <class S>
void TopKGate<S>::finish_forward(const Samples<S>& samples, Routing<S>& routing,
                                 Pass<TopKGate>& pass) const {
  constexpr const char* where = "TopKGate::forward";
  auto& ws = pass.workspace;
  evaluate(where, samples, routing, noise_.has_value(), pass);
  ws.regularization_ =
      ws.penalties_.evaluate(where, options_, routing, ws.logits_.matrix(), pass.rank_sum);
  ws.forward_.set(identity_, samples, routing);
}

template <class S>
void TopKGate<S>::fill_logits(const S* const* columns, Index first, Index count, bool noisy,
                              Workspace& ws) const {
  const Index n = num_experts();
  auto logits = ws.logits_.matrix();
  for (Index i = 0; i < n; ++i) logits_.logits(i, columns, count, &logits(i, first), n);
  if (!noisy) return;
  const auto noise = ws.noise_.matrix();
  auto scale = ws.noise_scale_.matrix();
  for (Index i = 0; i < n; ++i) noise_->logits(i, columns, count, &scale(i, first), n);
  for (Index b = first; b < first + count; ++b)
    for (Index i = 0; i < n; ++i) logits(i, b) += noise(i, b) * softplus(scale(i, b));
}

template <class S>
void TopKGate<S>::evaluate(std::string_view where, const Samples<S>& samples, Routing<S>& routing,
                           bool noisy, Pass<TopKGate>& pass) const {
  auto& ws = pass.workspace;
  const auto& live = ws.live_;
  const Index n = num_experts(), k = options_.k;
  const bool over_all = options_.softmax == TopKSoftmax::all;
  auto logits = ws.logits_.shape(n, live.size());
  ws.noise_scale_.shape(noisy ? n : 0, live.size());
  ws.order_.resize(std::size_t(detail::num_tiles(live.size()) * n));
  detail::size_rows(live, samples.size(), k, ws.sizes_, routing);

  const double cost = double(input_dim() * live.size()) * double(n);
  const auto tile = [&](const S* const* columns, Index first, Index count) {
    fill_logits(columns, first, count, noisy, ws);
    ExpertId* order = ws.order_.data() + first / detail::samples_per_tile * n;
    for (Index b = first; b < first + count; ++b) {
      if (!detail::all_finite(logits.col(b).array())) [[unlikely]]
        detail::raise_not_finite(where, "the logits of sample " + std::to_string(live[b]),
                                 "overflow or a parameter is not finite");
      const auto entry = std::size_t(routing.offsets()[std::size_t(live[b])]);
      detail::select_top_k(logits.col(b).data(), n, k, over_all, order,
                           routing.weights().data() + entry);
      std::copy_n(order, k, routing.experts().data() + entry);
    }
  };
  detail::for_live_tiles(detail::worth_threads(pass.pool, cost), samples, live, tile);
}

/// Calls add(expert, derivative by its logit) for one sample, the live-th that is no padding.
template <class S>
template <class Add>
void TopKGate<S>::by_logits(Index live, Index sample, const Routing<S>& routing,
                            std::span<const S> dweights, const Workspace& ws, Add add) const {
  const Index n = num_experts();
  const auto logits = ws.logits_.matrix().col(live);
  const auto begin = std::size_t(routing.offsets()[std::size_t(sample)]);
  const auto experts = routing.experts(sample);
  const auto weights = routing.weights(sample);
  S mean = 0;
  for (std::size_t i = 0; i < experts.size(); ++i) mean += weights[i] * dweights[begin + i];
  if (options_.softmax == TopKSoftmax::all) {
    // Probabilities of all experts follow from any selected one: p_i = w exp(h_i - h).
    std::size_t top = 0;
    for (std::size_t i = 1; i < weights.size(); ++i)
      if (weights[i] > weights[top]) top = i;
    std::size_t selected = 0;
    for (Index i = 0; i < n; ++i) {
      const S p = weights[top] * std::exp(logits(i) - logits(experts[top]));
      const bool kept = selected < experts.size() && experts[selected] == i;
      add(i, p * ((kept ? dweights[begin + selected] : S(0)) - mean));
      selected += kept;
    }
  } else {
    for (std::size_t i = 0; i < experts.size(); ++i)
      add(experts[i], weights[i] * (dweights[begin + i] - mean));
  }
  if (detail::BalancePenalties<S>::wanted(options_))
    for (Index i = 0; i < n; ++i) add(i, ws.penalties_.by_logit(i, live));
}

template <class S>
void TopKGate<S>::backward(const Samples<S>& samples, const Routing<S>& routing,
                           std::span<const S> dweights, MatrixView<S> dx,
                           Pass<TopKGate>& pass) const {
  auto& ws = pass.workspace;
  samples.validate_backward("TopKGate::backward", routing, dweights, dx, ws.forward_, identity_);
  const auto noise = ws.noise_.matrix();
  const auto noise_scale = ws.noise_scale_.matrix();
  ws.logit_gradients_.start(1);
  ws.noise_gradients_.start(1);
  for (Index live = 0; live < ws.live_.size(); ++live) {
    const Index b = ws.live_[live];
    by_logits(live, b, routing, dweights, ws, [&](Index expert, S by_logit) {
      ws.logit_gradients_.add(0, expert, b, by_logit);
      if (noise_)
        ws.noise_gradients_.add(
            0, expert, b, by_logit * noise(expert, live) * sigmoid(noise_scale(expert, live)));
    });
  }
  GradientView<S> gradients = pass.gradients(*this);
  ws.logit_gradients_.apply(logits_, gradients.next(logits_), samples.features, dx, pass.pool);
  if (noise_)
    ws.noise_gradients_.apply(*noise_, gradients.next(*noise_), samples.features, dx, pass.pool);
}

}  // namespace comet
