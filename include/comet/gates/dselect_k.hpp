// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/hyperplanes.hpp>
#include <comet/gates/detail/selectors.hpp>

namespace comet {

/// Settings of a DSelectKGate, with defaults where there is a sensible one.
struct DSelectKGateOptions {
  Index input_dim = 0;    ///< d >= 1
  Index num_experts = 0;  ///< n >= 1
  Index k = 2;            ///< number of selectors, 1 <= k <= n: at most k experts once saturated
  double gamma = 1.0;     ///< width of the smooth-step in units of the bits' logits, > 0
  double entropy = 0.0;   ///< strength lambda of the entropy penalty, >= 0
  double reachability = 0.0;  ///< strength zeta of the penalty on lost codes, >= 0
};

/// \brief DSelect-k: each of k selectors writes an expert's number in m = max(1, ceil(log2 n))
/// smooth bits.
///
/// Legend: z_jt is the logit of bit t of selector j (bit 0 is the most significant), affine in x;
/// w_j is the selector's own logit, affine in x; S is the smooth-step, exactly 0 and 1 outside
/// +-gamma/2; i_t is bit t of i.
///
///     r_ij = prod_t (i_t = 1 ? S(z_jt) : 1 - S(z_jt))
///     g_i  = sum_j softmax(w)_j r_ij                     (Hazimeh et al., NeurIPS 2021, Eq. (5))
///
/// If n is not a power of two, what a selector gives to codes >= n is lost: weights then sum to
/// less than 1, and a row may even be empty. Training can hold against it by the reachability
/// penalty zeta / B * sum_bj 1 / (1e-6 + sum_i r_ij), which is left out where no code can be lost.
/// The entropy penalty lambda / B * sum_bji -r log(r + 1e-6) speeds up saturation.
///
/// Only codes whose prefix has weight are enumerated, forward and backward. That is exact: since S'
/// is 0 wherever S is 0 or 1, the others have weight 0 and gradient 0.
///
/// \par Cost      per sample k (m + 1) d multiply-adds and O(k) per live code and prefix; backward
///                2 d for each bit that is not saturated
/// \par Threads   route() and forward() are const: concurrent calls are safe with distinct
///                routings and workspaces
/// \par Differs from the published code  penalties are means over the batch, not sums
/// \tparam S      float or double
/// \see StaticDSelectKGate, the same for all samples of a task
template <class S>
class DSelectKGate {
 public:
  using Scalar = S;                  ///< float or double.
  using Input = ConstMatrixView<S>;  ///< What route() looks at.
  class Workspace;

  /// Parameters of the bits uniform in +-gamma/100, those of the mixture uniform in +-0.05.
  /// \throws std::invalid_argument if an option is outside its bounds
  DSelectKGate(DSelectKGateOptions options, RandomKey key)
      : options_(validated(options)),
        bits_(options.input_dim, options.k * detail::num_code_bits(options.num_experts)),
        mixture_(options.input_dim, options.k) {
    bits_.initialize(options.gamma / 100, key.fold(0));
    mixture_.initialize(0.05, key.fold(1));
  }

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return options_.input_dim; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return options_.num_experts; }
  /// Number of selectors k.
  [[nodiscard]] Index num_selectors() const noexcept { return options_.k; }
  /// Before saturation a row can hold every expert; afterwards at most num_selectors().
  [[nodiscard]] Index max_active() const noexcept { return options_.num_experts; }
  /// The settings in use.
  [[nodiscard]] const DSelectKGateOptions& options() const noexcept { return options_; }

  /// \brief Changes the smooth-step's width, for schedules that harden the bits.
  void set_gamma(double gamma) {
    detail::check_positive("DSelectKGate::set_gamma", "gamma", gamma);
    options_.gamma = gamma;
  }
  /// \brief Changes the strength of the entropy penalty.
  void set_entropy(double entropy) {
    detail::check_not_negative("DSelectKGate::set_entropy", "entropy", entropy);
    options_.entropy = entropy;
  }

  /// \brief Routes a batch. \param x  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim(), or x or a logit is not finite
  void route(const ConstMatrixView<S>& x, Routing<S>& routing, Workspace& workspace) const {
    evaluate("DSelectKGate::route", x, routing, workspace, Purpose::inference, Rows::experts);
  }

  /// \brief route() that remembers what backward() needs. Nothing is drawn from the key.
  void forward(const ConstMatrixView<S>& x, Routing<S>& routing, RandomKey /*key*/,
               Workspace& workspace) const {
    evaluate("DSelectKGate::forward", x, routing, workspace, Purpose::training, Rows::experts);
  }

  /// \brief The weights of single selectors: entries are slots i k + j for expert i of selector j,
  /// n k in all, instead of experts. Summing an expert's k slots gives route(). For permutations
  /// per selector.
  void route_slots(const ConstMatrixView<S>& x, Routing<S>& routing, Workspace& workspace) const {
    evaluate("DSelectKGate::route_slots", x, routing, workspace, Purpose::inference, Rows::slots);
  }
  /// \brief forward() for slots; backward() then takes one derivative per slot entry.
  void forward_slots(const ConstMatrixView<S>& x, Routing<S>& routing, RandomKey /*key*/,
                     Workspace& workspace) const {
    evaluate("DSelectKGate::forward_slots", x, routing, workspace, Purpose::training, Rows::slots);
  }

  /// \brief Adds the gradients of sum(dweights . weights) + regularization.
  /// \param x, routing  as in the forward() that filled the workspace
  /// \param dweights    one derivative per entry of the routing
  /// \param dx          d x B, added to; an empty view if not wanted
  /// \throws std::invalid_argument if the workspace holds no forward() of this batch
  void backward(const ConstMatrixView<S>& x, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Workspace& workspace);

  /// \brief Entropy and reachability penalties of the last forward(): means over the batch.
  [[nodiscard]] S regularization(const Workspace& workspace) const noexcept {
    return workspace.regularization_;
  }

  /// Calls f(name, values, gradients) for each tensor, always in the same order.
  template <class F>
  void visit_parameters(F&& f) {
    bits_.visit("bit", f);
    mixture_.visit("mixture", f);
  }

 private:
  enum class Purpose { inference, training };
  enum class Rows { experts, slots };  // what an entry of a routing stands for

  static DSelectKGateOptions validated(const DSelectKGateOptions& options) {
    detail::check_at_least("DSelectKGate", "input_dim", options.input_dim, 1);
    detail::check_at_least("DSelectKGate", "num_experts", options.num_experts, 1);
    detail::check_at_least("DSelectKGate", "k", options.k, 1);
    detail::check_at_most("DSelectKGate", "k", options.k, "num_experts", options.num_experts);
    detail::check_positive("DSelectKGate", "gamma", options.gamma);
    detail::check_not_negative("DSelectKGate", "entropy", options.entropy);
    detail::check_not_negative("DSelectKGate", "reachability", options.reachability);
    return options;
  }

  [[nodiscard]] typename detail::Selectors<S>::Shape shape() const {
    return {num_experts(), num_selectors(), detail::num_code_bits(num_experts()),
            S(options_.gamma)};
  }

  void evaluate(std::string_view where, const ConstMatrixView<S>& x, Routing<S>& routing,
                Workspace& workspace, Purpose purpose, Rows rows) const;

  DSelectKGateOptions options_;
  detail::Hyperplanes<S> bits_;     // d x k m, selector by selector
  detail::Hyperplanes<S> mixture_;  // d x k
};

/// \brief Scratch of a DSelectKGate: give each thread its own.
template <class S>
class DSelectKGate<S>::Workspace {
 public:
  Workspace() = default;
  /// Shares the work among `threads`, which must outlive the workspace.
  explicit Workspace(ThreadPool* threads) : pool(threads) {}

  ThreadPool* pool = nullptr;  ///< not owned; none runs everything in the calling thread

 private:
  friend class DSelectKGate;

  struct Tile {
    detail::Selectors<S> selectors;  // of the sample at hand
    std::vector<ExpertId> experts;   // entries of the tile's samples
    std::vector<S> weights;
    std::vector<S> by_weight;  // code x selector
    S penalty = 0;

    void add_entries(Index k, Rows rows);
    void spread(const S* by_entry, Index k, Rows rows);
  };

  detail::Buffer<S> bits_;     // k m x B logits
  detail::Buffer<S> mixture_;  // k x B logits
  std::vector<Tile> tiles_;
  std::vector<std::int32_t> sizes_;  // entries of each sample
  detail::LogitGradients<S> bit_gradients_;
  detail::LogitGradients<S> mixture_gradients_;
  Index num_samples_ = -1;  // of the forward() that backward() may follow
  Rows rows_ = Rows::experts;
  S regularization_ = 0;
};

/// Appends the row of the sample at hand; slots without weight have no entry.
template <class S>
void DSelectKGate<S>::Workspace::Tile::add_entries(Index k, Rows rows) {
  const auto codes = selectors.codes();
  for (std::size_t i = 0; i < codes.size(); ++i) {
    if (rows == Rows::experts) {
      experts.push_back(codes[i]);
      weights.push_back(selectors.weight(i));
      continue;
    }
    for (Index j = 0; j < k; ++j) {
      const S weight = selectors.weight(i, j);
      if (weight == S(0)) continue;
      experts.push_back(ExpertId(codes[i] * k + j));
      weights.push_back(weight);
    }
  }
}

/// Derivatives by the weights of single selectors, code by code, from those by the row's entries.
template <class S>
void DSelectKGate<S>::Workspace::Tile::spread(const S* by_entry, Index k, Rows rows) {
  const std::size_t num_codes = selectors.codes().size();
  by_weight.assign(num_codes * std::size_t(k), S(0));
  for (std::size_t i = 0; i < num_codes; ++i)
    for (Index j = 0; j < k; ++j)
      if (rows == Rows::experts) {
        by_weight[i * std::size_t(k) + std::size_t(j)] = by_entry[i];
      } else if (selectors.weight(i, j) != S(0)) {
        by_weight[i * std::size_t(k) + std::size_t(j)] = *by_entry++;
      }
}

template <class S>
void DSelectKGate<S>::evaluate(std::string_view where, const ConstMatrixView<S>& x,
                               Routing<S>& routing, Workspace& workspace, Purpose purpose,
                               Rows rows) const {
  detail::check_equal(where, "x.rows()", x.rows(), "input_dim", input_dim());
  detail::check_finite(where, "x", x);
  const Index num_samples = x.cols();
  const Index tiles = detail::num_tiles(num_samples);
  auto& ws = workspace;
  ws.num_samples_ = -1;
  ws.rows_ = rows;
  ws.regularization_ = 0;
  if (Index(ws.tiles_.size()) < tiles) ws.tiles_.resize(std::size_t(tiles));
  ws.sizes_.resize(std::size_t(num_samples));
  auto bits = ws.bits_.shape(bits_.size(), num_samples);
  auto mixture = ws.mixture_.shape(mixture_.size(), num_samples);
  const S entropy = purpose == Purpose::training ? S(options_.entropy) : S(0);
  const S reachability = purpose == Purpose::training ? S(options_.reachability) : S(0);

  ThreadPool* pool = detail::worth_threads(ws.pool, double(x.size()) * double(bits_.size()));
  parallel_for(pool, tiles, [&](Index t, Index) {
    const Index first = t * detail::samples_per_tile;
    const Index count = std::min(detail::samples_per_tile, num_samples - first);
    const S* samples[std::size_t(detail::samples_per_tile)];
    for (Index lane = 0; lane < count; ++lane) samples[lane] = x.col(first + lane).data();
    for (Index h = 0; h < bits_.size(); ++h)
      bits_.logits(h, samples, count, &bits(h, first), bits.rows());
    for (Index j = 0; j < mixture_.size(); ++j)
      mixture_.logits(j, samples, count, &mixture(j, first), mixture.rows());

    auto& tile = ws.tiles_[std::size_t(t)];
    tile.experts.clear();
    tile.weights.clear();
    tile.penalty = 0;
    for (Index b = first; b < first + count; ++b) {
      if (!tile.selectors.descend(shape(), &bits(0, b), &mixture(0, b))) [[unlikely]]
        detail::raise(where, "the logits of sample " + std::to_string(b) +
                                 " overflow or a parameter is not finite");
      const std::size_t before = tile.experts.size();
      tile.add_entries(num_selectors(), rows);
      ws.sizes_[std::size_t(b)] = std::int32_t(tile.experts.size() - before);
      tile.penalty += tile.selectors.penalty(entropy, reachability);
    }
  });
  routing.resize(ws.sizes_);
  for (Index t = 0; t < tiles; ++t) {
    const auto& tile = ws.tiles_[std::size_t(t)];
    const Index entry = routing.offsets()[std::size_t(t * detail::samples_per_tile)];
    std::copy(tile.experts.begin(), tile.experts.end(), routing.experts().begin() + entry);
    std::copy(tile.weights.begin(), tile.weights.end(), routing.weights().begin() + entry);
  }

  if (purpose == Purpose::inference) return;
  ws.num_samples_ = num_samples;
  for (Index t = 0; t < tiles; ++t) ws.regularization_ += ws.tiles_[std::size_t(t)].penalty;
  if (num_samples > 0) ws.regularization_ /= S(num_samples);
}

template <class S>
void DSelectKGate<S>::backward(const ConstMatrixView<S>& x, const Routing<S>& routing,
                               std::span<const S> dweights, MatrixView<S> dx,
                               Workspace& workspace) {
  auto& ws = workspace;
  detail::check_backward("DSelectKGate::backward", x, input_dim(), routing, dweights, dx,
                         ws.num_samples_);
  if (x.cols() == 0) return;
  const auto bits = ws.bits_.matrix();
  const auto mixture = ws.mixture_.matrix();
  const S entropy = S(options_.entropy) / S(x.cols());
  const S reachability = S(options_.reachability) / S(x.cols());
  const Index tiles = detail::num_tiles(x.cols());
  ws.bit_gradients_.start(tiles);
  ws.mixture_gradients_.start(tiles);
  ThreadPool* pool = detail::worth_threads(ws.pool, double(routing.num_entries()) * 64);
  parallel_for(pool, tiles, [&](Index t, Index) {
    auto& tile = ws.tiles_[std::size_t(t)];
    const Index first = t * detail::samples_per_tile;
    for (Index b = first; b < std::min(first + detail::samples_per_tile, x.cols()); ++b) {
      // Walking again is cheaper than keeping every sample's prefixes.
      tile.selectors.descend(shape(), &bits(0, b), &mixture(0, b));
      tile.spread(dweights.data() + routing.offsets()[std::size_t(b)], num_selectors(), ws.rows_);
      const auto by_weight = [&](std::size_t i, Index j) {
        return tile.by_weight[i * std::size_t(num_selectors()) + std::size_t(j)];
      };
      tile.selectors.ascend(
          &bits(0, b), by_weight, entropy, reachability,
          [&](Index h, S value) { ws.bit_gradients_.add(t, h, b, value); },
          [&](Index j, S value) { ws.mixture_gradients_.add(t, j, b, value); });
    }
  });
  ws.bit_gradients_.apply(bits_, x, dx, ws.pool);
  ws.mixture_gradients_.apply(mixture_, x, dx, ws.pool);
}

/// Settings of a StaticDSelectKGate, with defaults where there is a sensible one.
struct StaticDSelectKGateOptions {
  Index num_experts = 0;  ///< n >= 1
  Index k = 2;            ///< number of selectors, 1 <= k <= n: at most k experts once saturated
  double gamma = 1.0;     ///< width of the smooth-step in units of the bits' logits, > 0
  double entropy = 0.0;   ///< strength lambda of the entropy penalty, >= 0
  double reachability = 0.0;  ///< strength zeta of the penalty on lost codes, >= 0
};

/// \brief DSelect-k whose logits z and w are parameters themselves: one choice of experts per task.
///
/// Formulas as for DSelectKGate. Of the input only the number of samples is used, and every sample
/// gets the same row; the row is computed once per batch.
///
/// \par Cost      O(k) per live code and prefix for a batch, and one copy of the row per sample
/// \par Threads   route() and forward() are const: concurrent calls are safe with distinct
///                routings and workspaces
/// \tparam S      float or double
template <class S>
class StaticDSelectKGate {
 public:
  using Scalar = S;                  ///< float or double.
  using Input = ConstMatrixView<S>;  ///< What route() looks at.
  class Workspace;

  /// Bits uniform in +-gamma/100, mixture uniform in +-0.05.
  /// \throws std::invalid_argument if an option is outside its bounds
  StaticDSelectKGate(StaticDSelectKGateOptions options, RandomKey key)
      : options_(validated(options)),
        bits_(detail::num_code_bits(options.num_experts), options.k),
        mixture_(options.k, 1) {
    key.fold(0).fill_uniform(bits_.values, -options.gamma / 100, options.gamma / 100);
    key.fold(1).fill_uniform(mixture_.values, -0.05, 0.05);
  }

  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return options_.num_experts; }
  /// Number of selectors k.
  [[nodiscard]] Index num_selectors() const noexcept { return options_.k; }
  /// Before saturation a row can hold every expert; afterwards at most num_selectors().
  [[nodiscard]] Index max_active() const noexcept { return options_.num_experts; }
  /// The settings in use.
  [[nodiscard]] const StaticDSelectKGateOptions& options() const noexcept { return options_; }

  /// \brief Changes the smooth-step's width, for schedules that harden the bits.
  void set_gamma(double gamma) {
    detail::check_positive("StaticDSelectKGate::set_gamma", "gamma", gamma);
    options_.gamma = gamma;
  }
  /// \brief Changes the strength of the entropy penalty.
  void set_entropy(double entropy) {
    detail::check_not_negative("StaticDSelectKGate::set_entropy", "entropy", entropy);
    options_.entropy = entropy;
  }

  /// \brief Routes a batch. \param x  any x B \param routing  resized here
  /// \throws std::invalid_argument if a parameter is not finite
  void route(const ConstMatrixView<S>& x, Routing<S>& routing, Workspace& workspace) const {
    evaluate("StaticDSelectKGate::route", x.cols(), routing, workspace);
    workspace.num_samples_ = -1;
  }

  /// \brief route() that remembers what backward() needs. Nothing is drawn from the key.
  void forward(const ConstMatrixView<S>& x, Routing<S>& routing, RandomKey /*key*/,
               Workspace& workspace) const {
    evaluate("StaticDSelectKGate::forward", x.cols(), routing, workspace);
    workspace.num_samples_ = x.cols();
    workspace.regularization_ =
        x.cols() == 0 ? S(0)
                      : workspace.selectors_.penalty(S(options_.entropy), S(options_.reachability));
  }

  /// \brief Adds the gradients of sum(dweights . weights) + regularization.
  /// \param x, routing  as in the forward() that filled the workspace
  /// \param dweights    one derivative per entry of the routing
  /// \param dx          left alone: nothing depends on x
  /// \throws std::invalid_argument if the workspace holds no forward() of this batch
  void backward(const ConstMatrixView<S>& x, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Workspace& workspace) {
    auto& ws = workspace;
    detail::check_backward("StaticDSelectKGate::backward", x, x.rows(), routing, dweights, dx,
                           ws.num_samples_);
    if (x.cols() == 0) return;
    const std::size_t row = ws.selectors_.codes().size();
    ws.dweights_.assign(row, S(0));
    for (std::size_t i = 0; i < dweights.size(); ++i) ws.dweights_[i % row] += dweights[i];
    ws.selectors_.ascend(
        bits_.values.data(), [&](std::size_t i, Index) { return ws.dweights_[i]; },
        S(options_.entropy), S(options_.reachability),
        [&](Index i, S value) { bits_.gradients.data()[i] += value; },
        [&](Index j, S value) { mixture_.gradients(j, 0) += value; });
  }

  /// \brief Entropy and reachability penalties of the last forward(); 0 for an empty batch.
  [[nodiscard]] S regularization(const Workspace& workspace) const noexcept {
    return workspace.regularization_;
  }

  /// Calls f(name, values, gradients) for each tensor, always in the same order.
  template <class F>
  void visit_parameters(F&& f) {
    bits_.visit("bit", f);
    mixture_.visit("mixture", f);
  }

 private:
  static StaticDSelectKGateOptions validated(const StaticDSelectKGateOptions& options) {
    constexpr const char* where = "StaticDSelectKGate";
    detail::check_at_least(where, "num_experts", options.num_experts, 1);
    detail::check_at_least(where, "k", options.k, 1);
    detail::check_at_most(where, "k", options.k, "num_experts", options.num_experts);
    detail::check_positive(where, "gamma", options.gamma);
    detail::check_not_negative(where, "entropy", options.entropy);
    detail::check_not_negative(where, "reachability", options.reachability);
    return options;
  }

  void evaluate(std::string_view where, Index num_samples, Routing<S>& routing,
                Workspace& workspace) const {
    auto& selectors = workspace.selectors_;
    if (!selectors.descend({num_experts(), num_selectors(), bits_.values.rows(), S(options_.gamma)},
                           bits_.values.data(), mixture_.values.data())) [[unlikely]]
      detail::raise(where, "a parameter is not finite");
    const auto codes = selectors.codes();
    workspace.sizes_.assign(std::size_t(num_samples), std::int32_t(codes.size()));
    routing.resize(workspace.sizes_);
    for (Index b = 0; b < num_samples; ++b)
      for (std::size_t i = 0; i < codes.size(); ++i) {
        const std::size_t entry = std::size_t(b) * codes.size() + i;
        routing.experts()[entry] = codes[i];
        routing.weights()[entry] = selectors.weight(i);
      }
  }

  StaticDSelectKGateOptions options_;
  Parameter<S> bits_;     // m x k, one selector per column
  Parameter<S> mixture_;  // k x 1
};

/// \brief Scratch of a StaticDSelectKGate: give each thread its own.
template <class S>
class StaticDSelectKGate<S>::Workspace {
 public:
  Workspace() = default;
  /// \param threads  taken for uniformity with other gates: there is nothing to share out
  explicit Workspace(ThreadPool* threads) : pool(threads) {}

  ThreadPool* pool = nullptr;  ///< Not owned; none runs everything in the calling thread.

 private:
  friend class StaticDSelectKGate;

  detail::Selectors<S> selectors_;
  std::vector<std::int32_t> sizes_;  // entries of each sample
  std::vector<S> dweights_;          // one per code, summed over the batch
  Index num_samples_ = -1;           // of the forward() that backward() may follow
  S regularization_ = 0;
};

}  // namespace comet
