// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/hyperplanes.hpp>
#include <comet/kernels/functions.hpp>
#include <comet/kernels/softmax.hpp>
#include <comet/losses/load_balance.hpp>
#include <comet/losses/router_z.hpp>

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
/// settle on a few experts. The options load_balance, importance and router_z add penalties against
/// that, over all n logits of training (noise included): they are part of regularization(), and
/// through MoeLayer::regularization() part of the loss, and backward() includes their gradient.
///
/// With k = 1 and TopKSoftmax::selected the only weight is 1 and the gate has no gradient at all:
/// use TopKSoftmax::all there.
///
/// \par Cost     d n multiply-adds per sample and a partial selection; backward 2 d k
///               (2 d n with TopKSoftmax::all or a penalty)
/// \par Threads  route() and forward() are const: concurrent calls are safe with distinct routings
///               and workspaces
/// \tparam S     float or double
/// \see CometGate, whose selection is differentiable
template <class S>
class TopKGate {
 public:
  using Scalar = S;                  ///< float or double.
  using Options = TopKGateOptions;   ///< Settings of the constructor.
  using Input = ConstMatrixView<S>;  ///< What route() looks at.
  class Workspace;

  /// Weights and biases uniform in +-1/sqrt(d); noise weights 0.
  /// \throws std::invalid_argument if an option is outside its bounds
  TopKGate(TopKGateOptions options, RandomKey key)
      : options_(validated(options)), logits_(options.input_dim, options.num_experts) {
    logits_.initialize(1.0 / std::sqrt(double(options.input_dim)), key);
    if (options.noise)
      noise_.emplace(options.input_dim, options.num_experts, detail::Hyperplanes<S>::Offsets::none);
  }

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return options_.num_experts; }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const noexcept { return options_.k; }
  /// The settings in use.
  [[nodiscard]] const TopKGateOptions& options() const noexcept { return options_; }

  /// \brief A gate that gives what this one gives to expert i to expert p(i).
  ///
  /// To the bit for k <= 2 over the selected logits, otherwise up to the order of a sum. Equal
  /// logits are told apart by the new numbers.
  /// \throws std::invalid_argument if p is not of num_experts() experts
  [[nodiscard]] TopKGate permuted(const Permutation& p) const {
    detail::check_equal("TopKGate::permuted", "p.size()", p.size(), "num_experts", num_experts());
    TopKGate result = *this;
    result.logits_ = logits_.permuted(p);
    if (noise_) result.noise_ = noise_->permuted(p);
    return result;
  }

  /// \brief Routes a batch, without noise. \param x  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim(), or x or a logit is not finite
  void route(const ConstMatrixView<S>& x, Routing<S>& routing, Workspace& workspace) const {
    evaluate("TopKGate::route", x, nullptr, routing, workspace);
  }

  /// \brief route() that remembers what backward() needs, with noise drawn from `key` if the gate
  /// has it.
  void forward(const ConstMatrixView<S>& x, Routing<S>& routing, RandomKey key,
               Workspace& workspace) const {
    if (noise_) {
      auto noise = workspace.noise_.shape(num_experts(), x.cols());
      for (Index b = 0; b < x.cols(); ++b) {
        const RandomKey sample_key = key.fold(std::uint64_t(b));
        for (Index i = 0; i < num_experts(); ++i)
          noise(i, b) = S(sample_key.normal(std::uint64_t(i)));
      }
      evaluate("TopKGate::forward", x, noise.data(), routing, workspace);
    } else {
      evaluate("TopKGate::forward", x, nullptr, routing, workspace);
    }
    penalize(routing, workspace);
    workspace.num_samples_ = x.cols();
  }

  /// \brief forward() with given noise instead of drawn one, to replay a run.
  /// \param noise  n x B draws of N(0,1)
  /// \throws std::invalid_argument if the gate was made without noise
  void forward(const ConstMatrixView<S>& x, const ConstMatrixView<S>& noise, Routing<S>& routing,
               Workspace& workspace) const {
    constexpr const char* where = "TopKGate::forward";
    if (!noise_) detail::raise(where, "the gate was made without noise");
    detail::check_equal(where, "noise.rows()", noise.rows(), "num_experts", num_experts());
    detail::check_equal(where, "noise.cols()", noise.cols(), "x.cols()", x.cols());
    workspace.noise_.shape(noise.rows(), noise.cols()) = noise;
    evaluate(where, x, workspace.noise_.matrix().data(), routing, workspace);
    penalize(routing, workspace);
    workspace.num_samples_ = x.cols();
  }

  /// \brief Adds the gradients of sum(dweights . weights) + regularization.
  /// \param x, routing  as in the forward() that filled the workspace
  /// \param dweights    one derivative per entry of the routing
  /// \param dx          d x B, added to; an empty view if not wanted
  /// \throws std::invalid_argument if the workspace holds no forward() of this batch
  void backward(const ConstMatrixView<S>& x, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Workspace& workspace);

  /// \brief The penalties of the last forward(), each times its strength; 0 without any.
  [[nodiscard]] S regularization(const Workspace& workspace) const noexcept {
    return workspace.regularization_;
  }

  /// Calls f(name, values, gradients) for each tensor, always in the same order.
  template <class F>
  void visit_parameters(F&& f) {
    logits_.visit(f);
    if (noise_) noise_->visit("noise", f);
  }

 private:
  static TopKGateOptions validated(const TopKGateOptions& options) {
    detail::check_at_least("TopKGate", "input_dim", options.input_dim, 1);
    detail::check_at_least("TopKGate", "num_experts", options.num_experts, 1);
    detail::check_at_least("TopKGate", "k", options.k, 1);
    detail::check_at_most("TopKGate", "k", options.k, "num_experts", options.num_experts);
    detail::check_not_negative("TopKGate", "load_balance", options.load_balance);
    detail::check_not_negative("TopKGate", "importance", options.importance);
    detail::check_not_negative("TopKGate", "router_z", options.router_z);
    return options;
  }

  [[nodiscard]] bool has_penalty() const {
    return options_.load_balance > 0 || options_.importance > 0 || options_.router_z > 0;
  }

  void evaluate(std::string_view where, const ConstMatrixView<S>& x, const S* noise,
                Routing<S>& routing, Workspace& workspace) const;
  void penalize(const Routing<S>& routing, Workspace& workspace) const;

  TopKGateOptions options_;
  detail::Hyperplanes<S> logits_;                // d x n
  std::optional<detail::Hyperplanes<S>> noise_;  // d x n
};

/// \brief Scratch of a TopKGate: give each thread its own.
template <class S>
class TopKGate<S>::Workspace {
 public:
  Workspace() = default;
  /// Shares the work among `threads`, which must outlive the workspace.
  explicit Workspace(ThreadPool* threads) : pool(threads) {}

  ThreadPool* pool = nullptr;  ///< not owned; none runs everything in the calling thread

 private:
  friend class TopKGate;

  detail::Buffer<S> logits_;          // n x B
  detail::Buffer<S> noise_;           // n x B
  detail::Buffer<S> noise_scale_;     // n x B, before the softplus
  detail::Buffer<S> probabilities_;   // n x B: softmax over all logits
  detail::Buffer<S> by_probability_;  // n x B: of the penalties
  detail::Buffer<S> by_logit_;        // n x B: of the penalties
  detail::Buffer<S> term_;            // n x B: of one penalty
  std::vector<ExpertId> order_;       // n per tile, scratch of the selection
  std::vector<std::int32_t> sizes_;
  detail::LogitGradients<S> logit_gradients_;
  detail::LogitGradients<S> noise_gradients_;
  Index num_samples_ = -1;  // of the forward() that backward() may follow
  S regularization_ = 0;
};

template <class S>
void TopKGate<S>::evaluate(std::string_view where, const ConstMatrixView<S>& x, const S* noise,
                           Routing<S>& routing, Workspace& workspace) const {
  auto& ws = workspace;
  ws.num_samples_ = -1;
  detail::check_equal(where, "x.rows()", x.rows(), "input_dim", input_dim());
  detail::check_finite(where, "x", x);
  const Index n = num_experts();
  const Index k = options_.k;
  const Index num_samples = x.cols();
  const Index tiles = detail::num_tiles(num_samples);
  auto logits = ws.logits_.shape(n, num_samples);
  auto noise_scale = ws.noise_scale_.shape(noise ? n : 0, num_samples);
  ws.order_.resize(std::size_t(tiles * n));
  ws.sizes_.assign(std::size_t(num_samples), std::int32_t(k));
  routing.resize(ws.sizes_);

  ThreadPool* pool = detail::worth_threads(ws.pool, double(x.size()) * double(n));
  parallel_for(pool, tiles, [&](Index t, Index) {
    const Index first = t * detail::samples_per_tile;
    const Index count = std::min(detail::samples_per_tile, num_samples - first);
    const S* samples[std::size_t(detail::samples_per_tile)];
    for (Index lane = 0; lane < count; ++lane) samples[lane] = x.col(first + lane).data();
    for (Index i = 0; i < n; ++i) logits_.logits(i, samples, count, &logits(i, first), n);
    if (noise != nullptr) {
      for (Index i = 0; i < n; ++i) noise_->logits(i, samples, count, &noise_scale(i, first), n);
      for (Index b = first; b < first + count; ++b)
        for (Index i = 0; i < n; ++i)
          logits(i, b) += noise[b * n + i] * softplus(noise_scale(i, b));
    }

    const std::span<ExpertId> order =
        std::span(ws.order_).subspan(std::size_t(t * n), std::size_t(n));
    for (Index b = first; b < first + count; ++b) {
      const auto h = logits.col(b);
      if ((h.array() * S(0)).sum() != S(0)) [[unlikely]]
        detail::raise(where, "the logits of sample " + std::to_string(b) +
                                 " overflow or a parameter is not finite");
      std::iota(order.begin(), order.end(), ExpertId(0));
      const auto larger = [&](ExpertId i, ExpertId j) {
        return h(i) > h(j) || (h(i) == h(j) && i < j);
      };
      std::nth_element(order.begin(), order.begin() + (k - 1), order.end(), larger);
      const S largest = h(*std::min_element(order.begin(), order.begin() + k, larger));
      std::sort(order.begin(), order.begin() + k);

      S sum = 0;
      const auto entry = routing.offsets()[std::size_t(b)];
      for (Index i = 0; i < k; ++i) {
        const ExpertId expert = order[std::size_t(i)];
        const S e = std::exp(h(expert) - largest);
        routing.experts()[std::size_t(entry + i)] = expert;
        routing.weights()[std::size_t(entry + i)] = e;
        sum += e;
      }
      if (options_.softmax == TopKSoftmax::all)
        for (const ExpertId expert : order.subspan(std::size_t(k)))
          sum += std::exp(h(expert) - largest);
      for (Index i = 0; i < k; ++i) routing.weights()[std::size_t(entry + i)] /= sum;
    }
  });
}

template <class S>
void TopKGate<S>::penalize(const Routing<S>& routing, Workspace& workspace) const {
  auto& ws = workspace;
  ws.regularization_ = 0;
  if (!has_penalty()) return;
  const auto logits = ws.logits_.matrix();
  const Index n = logits.rows();
  auto by_logit = ws.by_logit_.shape(n, logits.cols());
  auto probabilities = ws.probabilities_.shape(n, logits.cols());
  auto by_probability = ws.by_probability_.shape(n, logits.cols());
  auto term = ws.term_.shape(n, logits.cols());
  by_logit.setZero();
  by_probability.setZero();
  const auto add = [&](double strength, auto& sum, auto&& loss) {
    if (strength == 0) return;
    ws.regularization_ += S(strength) * loss();
    sum += S(strength) * term;
  };
  add(options_.router_z, by_logit, [&] { return router_z<S>(logits, term); });
  for (Index b = 0; b < logits.cols(); ++b)
    detail::softmax(logits.col(b).data(), n, probabilities.col(b).data());
  add(options_.load_balance, by_probability,
      [&] { return load_balance<S>(routing, probabilities, term); });
  add(options_.importance, by_probability, [&] { return importance<S>(probabilities, term); });
  for (Index b = 0; b < logits.cols(); ++b)
    detail::add_softmax_backward(probabilities.col(b).data(), by_probability.col(b).data(), n,
                                 by_logit.col(b).data());
}

template <class S>
void TopKGate<S>::backward(const ConstMatrixView<S>& x, const Routing<S>& routing,
                           std::span<const S> dweights, MatrixView<S> dx, Workspace& workspace) {
  auto& ws = workspace;
  detail::check_backward("TopKGate::backward", x, input_dim(), routing, dweights, dx,
                         ws.num_samples_);
  const Index n = num_experts();
  const auto logits = ws.logits_.matrix();
  const auto noise = ws.noise_.matrix();
  const auto noise_scale = ws.noise_scale_.matrix();
  ws.logit_gradients_.start(1);
  ws.noise_gradients_.start(1);
  const auto add = [&](Index expert, Index b, S by_logit) {
    ws.logit_gradients_.add(0, expert, b, by_logit);
    if (noise_)
      ws.noise_gradients_.add(0, expert, b,
                              by_logit * noise(expert, b) * sigmoid(noise_scale(expert, b)));
  };
  for (Index b = 0; b < x.cols(); ++b) {
    const auto begin = std::size_t(routing.offsets()[std::size_t(b)]);
    const auto experts = routing.experts(b);
    const auto weights = routing.weights(b);
    S mean = 0;
    for (std::size_t i = 0; i < experts.size(); ++i) mean += weights[i] * dweights[begin + i];
    if (options_.softmax == TopKSoftmax::all) {
      // Probabilities of all experts follow from any selected one: p_i = w exp(h_i - h).
      std::size_t top = 0;
      for (std::size_t i = 1; i < weights.size(); ++i)
        if (weights[i] > weights[top]) top = i;
      std::size_t selected = 0;
      for (Index i = 0; i < n; ++i) {
        const S p = weights[top] * std::exp(logits(i, b) - logits(experts[top], b));
        const bool kept = selected < experts.size() && experts[selected] == i;
        add(i, b, p * ((kept ? dweights[begin + selected] : S(0)) - mean));
        selected += kept;
      }
    } else {
      for (std::size_t i = 0; i < experts.size(); ++i)
        add(experts[i], b, weights[i] * (dweights[begin + i] - mean));
    }
    if (has_penalty())
      for (Index i = 0; i < n; ++i) add(i, b, ws.by_logit_.matrix()(i, b));
  }
  ws.logit_gradients_.apply(logits_, x, dx, ws.pool);
  if (noise_) ws.noise_gradients_.apply(*noise_, x, dx, ws.pool);
}

}  // namespace comet
