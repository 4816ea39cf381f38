// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/gate_forward.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/gates/detail/dselect_k_tile.hpp>
#include <comet/gates/detail/options.hpp>
#include <comet/gates/detail/spread_penalty.hpp>
#include <comet/kernels/columns.hpp>

namespace comet {

/// Settings of a StaticDSelectKGate, with defaults where there is a sensible one.
struct StaticDSelectKGateOptions {
  Index input_dim = 0;    ///< not used: any number of features will do
  Index num_experts = 0;  ///< n >= 1
  Index k = 2;            ///< number of selectors, 1 <= k <= n: at most k experts once saturated
  double gamma = 1.0;     ///< width of the smooth-step in units of the bits' logits, > 0
  double entropy = 0.0;   ///< strength lambda of the entropy penalty, >= 0
  double spread = 0.0;    ///< strength of the reward for even use, >= 0
  double reachability = 0.0;  ///< strength zeta of the penalty on lost codes, >= 0
};

/// \brief DSelect-k whose logits z and w are parameters themselves: one choice of experts per task.
///
/// Formulas as for DSelectKGate. Of the input only the number of samples is used, and every sample
/// gets the same row; the row is computed once per batch. It is then its own mean: spread takes
/// back from entropy, whose sum makes the selectors decide.
///
/// \par Cost      O(k) per live code and prefix for a batch, and one copy of the row per sample
/// \par Threads   gates are const while they run: concurrent calls are safe with distinct routings
///                and passes
/// \tparam S      float or double
/// \see docs/math.md, equations (2), (6)-(8) and (31)
template <class S>
class StaticDSelectKGate {
 public:
  using Scalar = S;                                             ///< float or double.
  using Options = StaticDSelectKGateOptions;                    ///< Settings of the constructor.
  static constexpr std::string_view name = "static_dselect_k";  ///< Of its kind.
  class Workspace;

  /// Bits uniform in +-gamma/100, mixture uniform in +-0.05.
  /// \throws std::invalid_argument if an option is outside its bounds
  StaticDSelectKGate(StaticDSelectKGateOptions options, RandomKey key)
      : options_(validated(options)),
        bits_(detail::num_code_bits(options.num_experts), options.k),
        mixture_({options.k}) {
    key.fold(0).fill_uniform(bits_, -options.gamma / 100, options.gamma / 100);
    key.fold(1).fill_uniform(mixture_, -0.05, 0.05);
  }

  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return options_.num_experts; }
  /// Number of selectors k.
  [[nodiscard]] Index num_selectors() const noexcept { return options_.k; }
  /// Before saturation a row can hold every expert; afterwards at most num_selectors().
  [[nodiscard]] Index max_active() const noexcept { return options_.num_experts; }
  /// The settings in use.
  [[nodiscard]] const StaticDSelectKGateOptions& options() const noexcept { return options_; }

  /// \brief Changes the smooth-step's width, which hardens the bits, and the strengths of the
  /// entropy penalty and of the reward for even use.
  /// \throws std::invalid_argument if a number is outside its bounds; nothing is changed then
  void anneal(const GateAnnealing& annealing) {
    options_ = detail::annealed<S>("StaticDSelectKGate::anneal", options_, annealing);
  }

  /// \brief Routes a batch. \param samples  any x B \param routing  resized here
  /// \throws NotFinite if a parameter is not finite
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<StaticDSelectKGate>& pass) const {
    evaluate("StaticDSelectKGate::route", samples, routing, pass.workspace,
             detail::Purpose::inference);
  }

  /// \brief route() that remembers what backward() needs. Nothing is drawn from the key.
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey /*key*/,
               Pass<StaticDSelectKGate>& pass) const {
    auto& ws = pass.workspace;
    evaluate("StaticDSelectKGate::forward", samples, routing, ws, detail::Purpose::training);
    ws.forward_.set(identity_, samples, routing);
    // Every rank has the row, and of its penalties the share that it has of the samples.
    const Index num_live = ws.live_.size();
    const bool penalties = options_.entropy > 0 || options_.spread > 0 || options_.reachability > 0;
    const Index everywhere = penalties ? pass.rank_sum.count(num_live) : num_live;
    ws.share_ = everywhere > 0 ? S(num_live) / S(everywhere) : S(1);
    const Index num_rows = everywhere > 0 ? 1 : 0;
    const double spread = ws.spread_.evaluate(options_.spread, num_experts() * num_selectors(),
                                              num_rows, [&](auto add) {
                                                for (const auto& leaf : ws.tile_.walk().leaves())
                                                  add(Index(leaf.slot), leaf.reach);
                                              });
    if (num_rows > 0) ws.regularization_ = S(double(ws.tile_.penalty()) + spread);
    ws.spread_.scale(ws.share_);
  }

  /// \brief Adds the gradients of sum(dweights . weights) + regularization.
  /// \param samples, routing  as in the forward() of this pass
  /// \param dweights  one derivative per entry of the routing
  /// \param dx        left alone: nothing depends on x
  /// \throws std::invalid_argument if the pass holds no forward() of this batch
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<StaticDSelectKGate>& pass) const {
    auto& ws = pass.workspace;
    samples.validate_backward("StaticDSelectKGate::backward", routing, dweights, dx, ws.forward_,
                              identity_);
    if (ws.live_.size() == 0) return;
    const auto row = std::size_t(ws.row_.num_entries());
    ws.dweights_.assign(row, S(0));
    for (std::size_t i = 0; i < dweights.size();) {
      const std::size_t end = std::min(dweights.size(), i + row * std::size_t(detail::run_length));
      ws.run_.assign(row, S(0));
      for (; i < end; ++i) ws.run_[i % row] += dweights[i];
      for (std::size_t entry = 0; entry < row; ++entry) ws.dweights_[entry] += ws.run_[entry];
    }
    GradientView<S> gradients = pass.gradients(*this);
    auto by_bits = gradients[0];
    auto by_mixture = gradients[1];
    ws.tile_.ascend(
        S(1) / ws.share_, ws.spread_,
        [&](const auto& leaf) { return ws.dweights_[std::size_t(leaf.entry)]; },
        [&](int, Index i, S value) { by_bits.data()[i] += value; },
        [&](int, Index j, S value) { by_mixture(j, 0) += value; });
  }

  /// \brief Entropy and reachability penalties of the last forward(), less the reward for even use;
  /// 0 for an empty batch.
  [[nodiscard]] S regularization(const Pass<StaticDSelectKGate>& pass) const noexcept {
    return pass.workspace.regularization_;
  }

  /// Calls f(name, parameter) for the bits and the mixture.
  template <class F>
  void visit(F&& f) const {
    f("bit", bits_);
    f("mixture", mixture_);
  }

 private:
  static StaticDSelectKGateOptions validated(const StaticDSelectKGateOptions& options) {
    detail::check_soft_tree<S>("StaticDSelectKGate", options);
    detail::check_not_negative_as<S>("StaticDSelectKGate", "reachability", options.reachability);
    return options;
  }

  /// The row, and as many copies as there are samples.
  void evaluate(std::string_view where, const Samples<S>& samples, Routing<S>& routing,
                Workspace& ws, detail::Purpose purpose) const {
    ws.forward_.clear();
    ws.regularization_ = 0;
    if (!samples.mask.empty())
      detail::check_equal(where, "samples.mask.size()", Index(samples.mask.size()), "x.cols()",
                          samples.size());
    ws.live_.assign(samples);
    auto& walk = ws.tile_.walk();
    walk.assign_one();
    if (ws.tile_.descend({num_experts(), num_selectors(), S(options_.gamma), S(options_.entropy),
                          S(options_.reachability)},
                         bits_.data(), mixture_.data(), purpose, detail::Rows::experts) == 0)
        [[unlikely]]
      detail::raise_not_finite(where, "a parameter", "is not finite");
    ws.sizes_.assign(1, 0);
    walk.sizes(ws.sizes_);
    const std::int32_t size = ws.sizes_.front();
    ws.row_.resize(ws.sizes_);
    walk.fill(ws.row_, detail::DSelectKTile<S>::add_weight);

    ws.sizes_.assign(std::size_t(samples.size()), 0);
    for (Index i = 0; i < ws.live_.size(); ++i) ws.sizes_[std::size_t(ws.live_[i])] = size;
    routing.resize(ws.sizes_);
    for (Index entry = 0; entry < routing.num_entries(); entry += size) {
      std::copy_n(ws.row_.experts().begin(), size, routing.experts().begin() + entry);
      std::copy_n(ws.row_.weights().begin(), size, routing.weights().begin() + entry);
    }
  }

  StaticDSelectKGateOptions options_;
  Parameter<S> bits_;     // m x k, one selector per column
  Parameter<S> mixture_;  // k x 1
  detail::Identity identity_;
};

/// \brief Scratch of a StaticDSelectKGate.
template <class S>
class StaticDSelectKGate<S>::Workspace {
  friend class StaticDSelectKGate;

  detail::DSelectKTile<S> tile_;  // of one sample, which stands for all
  Routing<S> row_;
  LiveSamples live_;
  std::vector<std::int32_t> sizes_;  // entries of each sample
  std::vector<S> dweights_;          // one per entry of the row, summed over the batch
  std::vector<S> run_;               // the same of a run of samples
  detail::SpreadPenalty<S> spread_;
  S share_ = 1;                  // of this rank in the penalties
  detail::GateForward forward_;  // that backward() may follow
  S regularization_ = 0;
};

}  // namespace comet
