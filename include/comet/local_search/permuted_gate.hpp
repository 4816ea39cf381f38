// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief A gate whose weight is a sum over selectors (the trees of COMET, the selectors of
/// DSelect-k) and that can hand them out one by one: slot i k + j is expert i of selector j.
template <class G>
concept SelectorGate = Gate<G> &&
    requires(const G gate, const typename G::Input& input, Routing<typename G::Scalar>& routing,
             typename G::Workspace& workspace) {
  { gate.num_selectors() } -> std::convertible_to<Index>;
  gate.route_slots(input, routing, workspace);
};

/// \brief A gate whose experts are relabelled: weight of slot i goes to expert pi(i). Itself a
/// gate.
///
///     g'(l) = sum_i g(i) P(i, l)                                     (Ibrahim et al., KDD 2023)
///
/// P is a permutation, or, while a relaxed search is on, a soft one: then forward() mixes with the
/// soft P, whose rows of weights are dense, and backward() adds to its gradient; route() always
/// uses the permutation. A permutation costs one look-up per entry. A gate that is a sum over
/// selectors can have a P for each of them: g'(l) = sum_j sum_i g_j(i) P_j(i, l).
///
/// Few Sinkhorn iterations leave a soft P whose rows do not sum to 1. A sample's weights are
/// therefore scaled to the sum that the gate gave them: P moves weight but makes none.
///
/// \par Cost     hard: the gate's, plus O(entries); soft: plus n^2 multiply-adds per sample
/// \tparam G     a Gate; the wrapper is trainable whether or not the gate is, so that a search can
///               learn P for a gate without parameters
/// \see PermutationSearch, SwapSearch, train_with_local_search
template <class G>
class PermutedGate {
  static_assert(
      Gate<G>,
      "comet::PermutedGate: the argument is not a Gate: it needs Scalar, Input, "
      "Workspace, num_experts(), max_active() and route(input, routing, workspace) const; "
      "see concepts.hpp");

 public:
  using Scalar = typename G::Scalar;  ///< float or double.
  using S = Scalar;                   ///< Short for Scalar.
  using Input = typename G::Input;    ///< What route() looks at.

  /// \brief Scratch of a PermutedGate: give each thread its own.
  class Workspace {
   public:
    Workspace() = default;
    /// Shares the work among `threads`, which must outlive the workspace.
    explicit Workspace(ThreadPool* threads) : pool(threads) {}

    ThreadPool* pool = nullptr;  ///< handed on to the gate's workspace

   private:
    friend class PermutedGate;
    typename G::Workspace inner_;
    Routing<S> slots_;                  // what the gate said
    std::vector<std::int32_t> entry_;   // per slot entry, the entry of the row it went to
    std::vector<std::int32_t> sizes_;   // entries of each sample
    std::vector<std::uint64_t> row_;    // of one sample: label and place
    detail::AlignedVector<S> dslots_;   // one per slot entry
    detail::Buffer<S> dense_;           // slots x B
    detail::Buffer<S> dense_gradient_;  // slots x B
    detail::Buffer<S> moved_gradient_;  // n x B: derivative by the weights before they are scaled
    detail::AlignedVector<S> scales_;   // B
    Index num_samples_ = -1;            // of the forward() that backward() may follow
    bool soft_ = false;                 // in that forward()
  };

  /// The identity to begin with.
  explicit PermutedGate(G gate)
      : gate_(std::move(gate)), permutations_{Permutation::identity(gate_.num_experts())} {}

  /// The gate inside.
  [[nodiscard]] const G& gate() const noexcept { return gate_; }
  /// The gate inside.
  [[nodiscard]] G& gate() noexcept { return gate_; }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return gate_.num_experts(); }
  /// Of the hard form; rows hold every expert while a search is on.
  [[nodiscard]] Index max_active() const noexcept { return gate_.max_active(); }
  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept requires requires(const G& g) { g.input_dim(); }
  { return gate_.input_dim(); }

  /// Number of permutations the gate can use: its selectors, or 1.
  [[nodiscard]] Index num_selectors() const noexcept {
    if constexpr (SelectorGate<G>) {
      return gate_.num_selectors();
    } else {
      return 1;
    }
  }
  /// The permutations in use: one for all selectors, or one per selector.
  [[nodiscard]] const std::vector<Permutation>& permutations() const noexcept {
    return permutations_;
  }
  /// Whether forward() mixes by soft permutations.
  [[nodiscard]] bool is_soft() const noexcept { return soft_.size() > 0; }

  /// \brief Sets one permutation for all selectors, and ends a soft phase.
  /// \throws std::invalid_argument if its size is not num_experts()
  void set_permutation(Permutation permutation) { set_permutations({std::move(permutation)}); }
  /// \brief Sets one permutation, or one per selector, and ends a soft phase.
  void set_permutations(std::vector<Permutation> permutations) {
    check_permutations("PermutedGate::set_permutations", permutations);
    permutations_ = std::move(permutations);
    soft_.resize(0, 0);
    soft_gradient_.resize(0, 0);
  }

  /// \brief Mixes with soft permutations from the next forward() on; `hard` are the permutations
  /// that route() uses meanwhile. Clears their gradient.
  /// \param soft  one n x n matrix, or one per selector: row = slot, column = expert
  /// \throws std::invalid_argument if a size does not fit
  void set_soft(std::span<const Matrix<double>> soft, std::span<const Permutation> hard) {
    constexpr const char* where = "PermutedGate::set_soft";
    check_permutations(where, hard);
    detail::check_equal(where, "soft.size()", Index(soft.size()), "number of permutations",
                        Index(hard.size()));
    const Index n = num_experts();
    for (const auto& matrix : soft) {
      detail::check_equal(where, "soft.rows()", matrix.rows(), "num_experts", n);
      detail::check_equal(where, "soft.cols()", matrix.cols(), "num_experts", n);
    }
    permutations_.assign(hard.begin(), hard.end());
    const Index selectors = slots_per_expert();
    soft_.resize(n, n * selectors);
    soft_gradient_.setZero(n, n * selectors);
    for (Index slot = 0; slot < n * selectors; ++slot) {
      const Matrix<double>& p = soft[std::size_t(slot % selectors)];
      soft_.col(slot) = p.row(slot / selectors).template cast<S>();
    }
  }

  /// \brief Adds to `gradient`, n x n, the gradient by the j-th soft permutation that backward()
  /// has added up since set_soft(). \throws std::invalid_argument if P is not soft, j is not one of
  /// its permutations, or the size
  ///         does not fit
  void add_soft_gradient(Index j, MatrixView<double> gradient) const {
    constexpr const char* where = "PermutedGate::add_soft_gradient";
    const Index n = num_experts();
    const Index selectors = slots_per_expert();
    if (!is_soft()) detail::raise(where, "the permutation is not soft");
    detail::check_at_least(where, "j", j, 0);
    detail::check_at_most(where, "j", j, "the number of permutations - 1", selectors - 1);
    detail::check_equal(where, "gradient.rows()", gradient.rows(), "num_experts", n);
    detail::check_equal(where, "gradient.cols()", gradient.cols(), "num_experts", n);
    for (Index i = 0; i < n; ++i)
      gradient.row(i) += soft_gradient_.col(i * selectors + j).template cast<double>();
  }

  /// \brief Routes by the permutation. \see Gate
  void route(const Input& input, Routing<S>& routing, Workspace& ws) const {
    start(ws);
    if constexpr (SelectorGate<G>) {
      if (permutations_.size() > 1) {
        gate_.route_slots(input, ws.slots_, ws.inner_);
        relabel(routing, ws);
        return;
      }
    }
    gate_.route(input, ws.slots_, ws.inner_);
    relabel(routing, ws);
  }

  /// \brief Routes by the soft permutation if there is one, by the permutation otherwise.
  void forward(const Input& input, Routing<S>& routing, RandomKey key, Workspace& ws) const {
    static_assert(
        TrainableGate<G> || !Parametric<G>,
        "comet::PermutedGate::forward: this gate has parameters but cannot be trained: it "
        "needs forward(input, routing, key, workspace) const, backward(input, routing, "
        "dweights, dx, workspace) and regularization(workspace) const");
    start(ws);
    forward_slots(input, key, ws);
    ws.soft_ = is_soft();
    if (ws.soft_) {
      soften(routing, ws);
    } else {
      relabel(routing, ws);
    }
    ws.num_samples_ = ws.slots_.num_samples();
  }

  /// \brief Adds the gradients of the gate, of dx and of the soft permutation.
  /// \throws std::invalid_argument if the workspace holds no forward() of this batch, or P has
  ///         changed between soft and hard since
  void backward(const Input& input, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Workspace& ws) {
    constexpr const char* where = "PermutedGate::backward";
    if (ws.num_samples_ < 0)
      detail::raise(where, "the workspace holds no forward(); call it first");
    detail::check_equal(where, "routing.num_samples()", routing.num_samples(),
                        "samples of the last forward()", ws.num_samples_);
    detail::check_equal(where, "dweights.size()", Index(dweights.size()), "routing.num_entries()",
                        routing.num_entries());
    if (ws.soft_ != is_soft())
      detail::raise(where, "the permutation has changed between soft and hard since forward()");
    ws.dslots_.resize(std::size_t(ws.slots_.num_entries()));
    if (ws.soft_) {
      soften_backward(routing, dweights, ws);
    } else {
      for (std::size_t i = 0; i < ws.dslots_.size(); ++i)
        ws.dslots_[i] = dweights[std::size_t(ws.entry_[i])];
    }
    if constexpr (TrainableGate<G>)
      gate_.backward(input, ws.slots_, std::span<const S>(ws.dslots_), std::move(dx), ws.inner_);
    if (ws.soft_)
      soft_gradient_.noalias() += ws.moved_gradient_.matrix() * ws.dense_.matrix().transpose();
  }

  /// The penalty of the last forward().
  [[nodiscard]] S regularization(const Workspace& ws) const {
    if constexpr (TrainableGate<G>) {
      return gate_.regularization(ws.inner_);
    } else {
      return S(0);
    }
  }

  /// \brief The gate's parameters; P belongs to the search.
  template <class F>
  void visit_parameters(F&& f) {
    if constexpr (Parametric<G>) gate_.visit_parameters(f);
  }

 private:
  void check_permutations(std::string_view where, std::span<const Permutation> list) const {
    if (list.size() != 1 && Index(list.size()) != num_selectors()) [[unlikely]]
      detail::raise(where, "number of permutations", list.size(),
                    "1 or num_selectors = " + std::to_string(num_selectors()));
    for (const Permutation& p : list)
      detail::check_equal(where, "permutation.size()", p.size(), "num_experts", num_experts());
  }

  [[nodiscard]] Index slots_per_expert() const { return Index(permutations_.size()); }

  void start(Workspace& ws) const {
    ws.num_samples_ = -1;
    if constexpr (requires { ws.inner_.pool = ws.pool; }) ws.inner_.pool = ws.pool;
  }

  void forward_slots(const Input& input, RandomKey key, Workspace& ws) const {
    if constexpr (SelectorGate<G>) {
      if (permutations_.size() > 1) {
        gate_.forward_slots(input, ws.slots_, key, ws.inner_);
        return;
      }
    }
    if constexpr (TrainableGate<G>) {
      gate_.forward(input, ws.slots_, key, ws.inner_);
    } else {
      gate_.route(input, ws.slots_, ws.inner_);
    }
  }

  template <class F>
  static void for_each_entry(const Routing<S>& routing, F f) {
    for (Index b = 0; b < routing.num_samples(); ++b)
      for (auto i = routing.offsets()[std::size_t(b)]; i < routing.offsets()[std::size_t(b) + 1];
           ++i)
        f(std::size_t(i), routing.experts()[std::size_t(i)], b);
  }

  [[nodiscard]] ExpertId expert_of(ExpertId slot) const {
    const auto selectors = ExpertId(permutations_.size());
    return permutations_[std::size_t(slot % selectors)][slot / selectors];
  }

  /// Rows in ascending order of the new labels; slots with the same label share an entry.
  void relabel(Routing<S>& routing, Workspace& ws) const {
    const Routing<S>& slots = ws.slots_;
    const bool shared = permutations_.size() == 1;
    const ExpertId* label_of = permutations_.front().as_span().data();
    ws.entry_.resize(std::size_t(slots.num_entries()));
    routing.clear();
    for (Index b = 0; b < slots.num_samples(); ++b) {
      const auto begin = std::size_t(slots.offsets()[std::size_t(b)]);
      const auto end = std::size_t(slots.offsets()[std::size_t(b) + 1]);
      // A label above the entry's place in the row: sorts as a pair would, in one comparison.
      ws.row_.clear();
      for (std::size_t i = begin; i < end; ++i) {
        const ExpertId slot = slots.experts()[i];
        const ExpertId label = shared ? label_of[slot] : expert_of(slot);
        ws.row_.push_back((std::uint64_t(label) << 32) | std::uint64_t(i - begin));
      }
      std::sort(ws.row_.begin(), ws.row_.end());
      ExpertId last = -1;
      for (const std::uint64_t key : ws.row_) {
        const auto expert = ExpertId(key >> 32);
        const std::size_t i = begin + std::size_t(key & 0xffffffffU);
        if (expert == last) {
          routing.weights().back() += slots.weights()[i];
        } else {
          routing.push(expert, slots.weights()[i]);
          last = expert;
        }
        ws.entry_[i] = std::int32_t(routing.num_entries() - 1);
      }
      routing.end_sample();
    }
  }

  // u = P^T g, then g' = u sum(g) / sum(u).
  void soften(Routing<S>& routing, Workspace& ws) const {
    const Index n = num_experts();
    const Index num_samples = ws.slots_.num_samples();
    auto dense = ws.dense_.shape(soft_.cols(), num_samples);
    dense.setZero();
    for_each_entry(ws.slots_, [&](std::size_t entry, ExpertId slot, Index b) {
      dense(slot, b) = ws.slots_.weights()[entry];
    });
    ws.sizes_.assign(std::size_t(num_samples), std::int32_t(n));
    routing.resize(ws.sizes_);
    for (std::size_t i = 0; i < routing.experts().size(); ++i)
      routing.experts()[i] = ExpertId(Index(i) % n);
    Eigen::Map<Matrix<S>> weights(routing.weights().data(), n, num_samples);
    weights.noalias() = soft_ * dense;
    ws.scales_.resize(std::size_t(num_samples));
    for (Index b = 0; b < num_samples; ++b) {
      const S moved = weights.col(b).sum();
      const S scale = moved > S(0) ? dense.col(b).sum() / moved : S(1);
      ws.scales_[std::size_t(b)] = scale;
      weights.col(b) *= scale;
    }
  }

  // With v the derivative by g': that by u is sum(g) / sum(u) (v - mean), where mean = v . g' /
  // sum(g), and that by g is P times it, plus mean.
  void soften_backward(const Routing<S>& routing, std::span<const S> dweights,
                       Workspace& ws) const {
    const Index n = num_experts();
    const Index num_samples = routing.num_samples();
    const Eigen::Map<const Matrix<S>> by_weight(dweights.data(), n, num_samples);
    const Eigen::Map<const Matrix<S>> weights(routing.weights().data(), n, num_samples);
    const auto dense = ws.dense_.matrix();
    auto by_moved = ws.moved_gradient_.shape(n, num_samples);
    auto by_dense = ws.dense_gradient_.shape(soft_.cols(), num_samples);
    const auto mean = [&](Index b) {
      const S sum = dense.col(b).sum();
      return sum > S(0) ? by_weight.col(b).dot(weights.col(b)) / sum : S(0);
    };
    for (Index b = 0; b < num_samples; ++b)
      by_moved.col(b) = ws.scales_[std::size_t(b)] * (by_weight.col(b).array() - mean(b)).matrix();
    by_dense.noalias() = soft_.transpose() * by_moved;
    for (Index b = 0; b < num_samples; ++b) by_dense.col(b).array() += mean(b);
    for_each_entry(ws.slots_, [&](std::size_t entry, ExpertId slot, Index b) {
      ws.dslots_[entry] = by_dense(slot, b);
    });
  }

  G gate_;
  std::vector<Permutation> permutations_;  // 1 or num_selectors()
  Matrix<S> soft_;                         // n x slots: column = slot; empty unless a search is on
  Matrix<S> soft_gradient_;                // n x slots
};

}  // namespace comet
