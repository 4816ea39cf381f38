// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/gates/detail/dselect_k_tile.hpp>
#include <comet/gates/detail/explain_soft_tree.hpp>
#include <comet/gates/detail/logit_gradients.hpp>
#include <comet/gates/detail/options.hpp>
#include <comet/gates/detail/soft_tree.hpp>
#include <comet/gates/detail/spread_penalty.hpp>
#include <comet/gates/explanation.hpp>
#include <comet/gates/frozen.hpp>
#include <comet/gates/hyperplanes.hpp>

namespace comet {

/// Settings of a DSelectKGate, with defaults where there is a sensible one.
struct DSelectKGateOptions {
  Index input_dim = 0;    ///< d >= 1
  Index num_experts = 0;  ///< n >= 1
  Index k = 2;            ///< number of selectors, 1 <= k <= n: at most k experts once saturated
  double gamma = 1.0;     ///< width of the smooth-step in units of the bits' logits, > 0
  double entropy = 0.0;   ///< strength lambda of the entropy penalty, >= 0
  double spread = 0.0;    ///< strength of the reward for even use, >= 0
  double reachability = 0.0;  ///< strength zeta of the penalty on lost codes, >= 0
  double split_scale = 0.0;   ///< s >= 0 of the bits' parameters at the start; 0 as published
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
/// less than 1, and a row may even be empty. So it is with n = 1: it has one bit, whose code 1 is
/// nobody's and begins with half of the weight. Training can hold against it by the reachability
/// penalty zeta / B * sum_bj 1 / (1e-6 + sum_i r_ij), which is left out where no code can be lost.
/// The entropy penalty lambda / B * sum_bji -r log(r + 1e-6) speeds up saturation; the option
/// spread rewards, per selector, the entropy of the batch's mean r, so that samples part.
///
/// Only codes whose prefix has weight are enumerated, forward and backward. That is exact: since S'
/// is 0 wherever S is 0 or 1, the others have weight 0 and gradient 0.
///
/// \par Cost      per sample k (m + 1) d multiply-adds and O(k) per live code and prefix; backward
///                2 d for each bit that is not saturated
/// \par Threads   gates are const while they run: concurrent calls are safe with distinct routings
///                and passes
/// \par Differs from the published code  penalties are means over the batch, not sums
/// \tparam S      float or double
/// \see StaticDSelectKGate, the same for all samples of a task
/// \see docs/math.md, equations (2), (6)-(8) and (31)
template <class S>
class DSelectKGate {
 public:
  using Scalar = S;                                      ///< float or double.
  using Options = DSelectKGateOptions;                   ///< Settings of the constructor.
  static constexpr std::string_view name = "dselect_k";  ///< Of its kind.
  class Workspace;

  /// Parameters of the bits uniform in +-gamma/100 or, with a split_scale s, weights normal with
  /// standard deviation s/sqrt(d) and biases 0; those of the mixture uniform in +-0.05.
  /// \throws std::invalid_argument if an option is outside its bounds
  DSelectKGate(DSelectKGateOptions options, RandomKey key)
      : options_(validated(options)),
        bits_(options.input_dim, options.k * detail::num_code_bits(options.num_experts)),
        mixture_(options.input_dim, options.k) {
    detail::initialize_splits(bits_, options, key.fold(0));
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
  /// Column j m + t is bit t of selector j, the most significant first.
  [[nodiscard]] const Hyperplanes<S>& bits() const noexcept { return bits_; }
  /// Column j is selector j.
  [[nodiscard]] const Hyperplanes<S>& mixture() const noexcept { return mixture_; }

  /// \brief Changes the smooth-step's width, which hardens the bits, and the strengths of the
  /// entropy penalty and of the reward for even use.
  /// \throws std::invalid_argument if a number is outside its bounds; nothing is changed then
  void anneal(const GateAnnealing& annealing) {
    options_ = detail::annealed<S>("DSelectKGate::anneal", options_, annealing);
  }

  /// \brief Routes a batch. \param samples  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim()
  /// \throws NotFinite if x or a logit is not finite
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<DSelectKGate>& pass) const {
    evaluate("DSelectKGate::route", samples, routing, pass, Purpose::inference, Rows::experts);
  }

  /// \brief route() that remembers what backward() needs. Nothing is drawn from the key.
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey /*key*/,
               Pass<DSelectKGate>& pass) const {
    evaluate("DSelectKGate::forward", samples, routing, pass, Purpose::training, Rows::experts);
  }

  /// \brief The weights of single selectors: entries are slots i k + j for expert i of selector j,
  /// n k in all, instead of experts. Summing an expert's k slots gives route(). For permutations
  /// per selector.
  void route_slots(const Samples<S>& samples, Routing<S>& routing, Pass<DSelectKGate>& pass) const {
    evaluate("DSelectKGate::route_slots", samples, routing, pass, Purpose::inference, Rows::slots);
  }
  /// \brief forward() for slots; backward() then takes one derivative per slot entry.
  void forward_slots(const Samples<S>& samples, Routing<S>& routing, RandomKey /*key*/,
                     Pass<DSelectKGate>& pass) const {
    evaluate("DSelectKGate::forward_slots", samples, routing, pass, Purpose::training, Rows::slots);
  }

  /// \brief Adds the gradients of sum(dweights . weights) + regularization.
  /// \param samples, routing  as in the forward() of this pass
  /// \param dweights  one derivative per entry of the routing
  /// \param dx        d x B, added to; no_gradient if it is not wanted
  /// \throws std::invalid_argument if the pass holds no forward() of this batch
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<DSelectKGate>& pass) const;

  /// \brief Entropy and reachability penalties of the last forward(), which are means over the
  /// batch, less the reward for even use.
  [[nodiscard]] S regularization(const Pass<DSelectKGate>& pass) const noexcept {
    return pass.workspace.regularization_;
  }

  /// \brief A gate that routes to the same bits and does nothing else. \see comet::freeze
  /// \throws NotFinite naming the parameter that is not finite
  [[nodiscard]] FrozenDSelectKGate<S> freeze(std::span<const Permutation> permutations = {}) const {
    detail::check_freezable(*this, permutations, num_selectors());
    const bool slots = permutations.size() > 1;
    return {{num_experts(), num_selectors(), shape().bits, shape().gamma, slots, bits_, mixture_},
            detail::slot_labels(permutations, num_experts(), slots ? num_selectors() : 1)};
  }

  /// \brief Why a sample goes where it goes. \see comet::explain
  [[nodiscard]] Explanation<S> explain(const ConstMatrixView<S>& x,
                                       std::span<const Permutation> permutations = {},
                                       const ExplainNames& names = {}) const;

  /// Calls f(name, child) for the bits and the mixture.
  template <class F>
  void visit(F&& f) const {
    f("bit", bits_);
    f("mixture", mixture_);
  }

 private:
  using Tile = detail::DSelectKTile<S>;
  using Rows = detail::Rows;
  using Purpose = detail::Purpose;

  static DSelectKGateOptions validated(const DSelectKGateOptions& options) {
    detail::check_at_least("DSelectKGate", "input_dim", options.input_dim, 1);
    detail::check_soft_tree<S>("DSelectKGate", options);
    detail::check_not_negative_as<S>("DSelectKGate", "reachability", options.reachability);
    detail::check_not_negative_as<S>("DSelectKGate", "split_scale", options.split_scale);
    return options;
  }

  [[nodiscard]] detail::DSelectKShape<S> shape() const {
    return {num_experts(), num_selectors(), S(options_.gamma), S(options_.entropy),
            S(options_.reachability)};
  }

  void evaluate(std::string_view where, const Samples<S>& samples, Routing<S>& routing,
                Pass<DSelectKGate>& pass, Purpose purpose, Rows rows) const;
  void descend(std::string_view where, const ConstMatrixView<S>& x, Tile& tile, S* z, S* w,
               Purpose purpose, Rows rows) const;

  DSelectKGateOptions options_;
  Hyperplanes<S> bits_;     // d x k m, selector by selector
  Hyperplanes<S> mixture_;  // d x k
  detail::Identity identity_;
};

/// \brief Scratch of a DSelectKGate.
template <class S>
class DSelectKGate<S>::Workspace {
  friend class DSelectKGate;

  detail::SoftTreeBatch<S, Tile> batch_;
  Buffer<S> bits_;     // k m logits of each live sample
  Buffer<S> mixture_;  // k logits of each live sample
  detail::LogitGradients<S> bit_gradients_;
  detail::LogitGradients<S> mixture_gradients_;
  detail::SpreadPenalty<S> spread_;
  Index num_rows_ = 0;  // that are no padding, of all ranks if there is a penalty
  S regularization_ = 0;
};

template <class S>
void DSelectKGate<S>::evaluate(std::string_view where, const Samples<S>& samples,
                               Routing<S>& routing, Pass<DSelectKGate>& pass, Purpose purpose,
                               Rows rows) const {
  auto& ws = pass.workspace;
  ws.regularization_ = 0;
  ws.batch_.start(where, samples, input_dim());
  const Index num_live = ws.batch_.live().size();
  auto bits = ws.bits_.shape(bits_.size(), num_live);
  auto mixture = ws.mixture_.shape(mixture_.size(), num_live);
  ThreadPool* pool = detail::worth_threads(
      pass.pool, double(input_dim()) * double(num_live) * double(bits_.size()));
  ws.batch_.run(
      routing, pool,
      [&](Tile& tile) {
        const Index first = tile.walk().first();
        descend(where, samples.features, tile, bits.col(first).data(), mixture.col(first).data(),
                purpose, rows);
      },
      Tile::add_weight);
  if (purpose == Purpose::inference) return;
  ws.batch_.keep(identity_, samples, routing);
  double sum = 0;
  for (Index t = 0; t < ws.batch_.size(); ++t) sum += double(ws.batch_[t].penalty());
  ws.num_rows_ = num_live;
  if (options_.entropy > 0 || options_.spread > 0 || options_.reachability > 0) {
    ws.num_rows_ = pass.rank_sum.count(num_live);
    sum = pass.rank_sum(sum);
  }
  const double spread = ws.spread_.evaluate(
      options_.spread, num_experts() * num_selectors(), ws.num_rows_,
      [&](auto add) { ws.batch_.for_each_leaf(add); }, pass.rank_sum);
  if (ws.num_rows_ > 0) ws.regularization_ = S(sum / double(ws.num_rows_) + spread);
}

/// The logits of a tile's samples, and the walk.
template <class S>
void DSelectKGate<S>::descend(std::string_view where, const ConstMatrixView<S>& x, Tile& tile, S* z,
                              S* w, Purpose purpose, Rows rows) const {
  const auto& walk = tile.walk();
  const S* samples[Tile::lanes];
  for (int lane = 0; lane < walk.count(); ++lane) samples[lane] = x.col(walk.sample(lane)).data();
  for (Index h = 0; h < bits_.size(); ++h)
    bits_.logits(h, samples, walk.count(), z + h, bits_.size());
  for (Index j = 0; j < mixture_.size(); ++j)
    mixture_.logits(j, samples, walk.count(), w + j, mixture_.size());
  const int bad = tile.descend(shape(), z, w, purpose, rows);
  if (bad < walk.count()) [[unlikely]]
    detail::raise_not_finite(where, "the logits of sample " + std::to_string(walk.sample(bad)),
                             "overflow or a parameter is not finite");
}

template <class S>
void DSelectKGate<S>::backward(const Samples<S>& samples, const Routing<S>& routing,
                               std::span<const S> dweights, MatrixView<S> dx,
                               Pass<DSelectKGate>& pass) const {
  auto& ws = pass.workspace;
  samples.validate_backward("DSelectKGate::backward", routing, dweights, dx, ws.batch_.forward(),
                            identity_);
  const Index tiles = ws.batch_.size();
  if (tiles == 0) return;
  ws.bit_gradients_.start(tiles);
  ws.mixture_gradients_.start(tiles);
  ThreadPool* pool = detail::worth_threads(pass.pool, double(routing.num_entries()) * 64);
  parallel_for(pool, tiles, [&](Index t, Index) {
    Tile& tile = ws.batch_[t];
    const auto& walk = tile.walk();
    tile.ascend(
        S(ws.num_rows_), ws.spread_,
        [&](const auto& leaf) { return dweights[walk.place(leaf, routing)]; },
        [&](int lane, Index h, S value) { ws.bit_gradients_.add(t, h, walk.sample(lane), value); },
        [&](int lane, Index j, S value) {
          ws.mixture_gradients_.add(t, j, walk.sample(lane), value);
        });
  });
  GradientView<S> gradients = pass.gradients(*this);
  ws.bit_gradients_.apply(bits_, gradients.next(bits_), samples.features, dx, pass.pool);
  ws.mixture_gradients_.apply(mixture_, gradients.next(mixture_), samples.features, dx, pass.pool);
}

template <class S>
Explanation<S> DSelectKGate<S>::explain(const ConstMatrixView<S>& x,
                                        std::span<const Permutation> permutations,
                                        const ExplainNames& names) const {
  detail::check_explainable(*this, x, names);
  Tile tile;
  tile.walk().assign_one();
  Vector<S> z(bits_.size()), w(mixture_.size());
  descend("DSelectKGate::explain", x, tile, z.data(), w.data(), Purpose::training,
          permutations.size() > 1 ? Rows::slots : Rows::experts);
  return detail::explain_soft_tree(
      tile.walk(), x.data(), S(options_.gamma), num_selectors(), permutations, names,
      Tile::add_weight, [&](Index /*node*/, Index level, Index selector) {
        return detail::PlaneOf<S>{bits_, selector * shape().bits + level};
      });
}

}  // namespace comet
