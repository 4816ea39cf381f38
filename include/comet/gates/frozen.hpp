// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/hyperplanes.hpp>
#include <comet/kernels/portable/route.hpp>

/// \file
/// \brief Gates that only route: tables of numbers, labels, and the kernel for one sample that
/// emitted headers have too.

namespace comet {

namespace detail {

/// The expert of slot i s + j of n experts and s selectors. One permutation is for all selectors,
/// none leaves experts as they are.
inline std::vector<ExpertId> slot_labels(std::span<const Permutation> permutations,
                                         Index num_experts, Index num_selectors) {
  std::vector<ExpertId> labels;
  labels.reserve(std::size_t(num_experts * num_selectors));
  for (Index i = 0; i < num_experts; ++i)
    for (Index j = 0; j < num_selectors; ++j)
      labels.push_back(permutations.empty()
                           ? ExpertId(i)
                           : permutations[std::size_t(j) % permutations.size()][i]);
  return labels;
}

/// What freeze() checks of every gate.
template <class G>
void check_freezable(const G& gate, std::span<const Permutation> permutations,
                     Index num_selectors) {
  if (permutations.size() > 1)
    check_equal("freeze", "permutations.size()", Index(permutations.size()), "num_selectors",
                num_selectors);
  for (const Permutation& p : permutations)
    check_equal("freeze", "permutation.size()", p.size(), "num_experts", gate.num_experts());
  for_each_parameter(gate, [](const ParameterName& name, const auto& values) {
    check_finite<typename G::Scalar>("freeze", name.str(), values);
  });
}

}  // namespace detail

/// \brief The numbers of a COMET gate. Slot i k + j is leaf i (from left to right) of tree j.
template <class S>
class CometTables {
 public:
  using Scalar = S;                                                    ///< float or double.
  static constexpr std::string_view name = "frozen_comet";             ///< Of the gate.
  static constexpr std::string_view where = "FrozenCometGate::route";  ///< Of it, in messages.

  /// \param splits  column q k + j is node q (heap order) of tree j  \param leaves  column = slot
  CometTables(Index num_trees, S gamma, Hyperplanes<S> splits, Hyperplanes<S> leaves)
      : num_trees_(num_trees),
        gamma_(gamma),
        splits_(std::move(splits)),
        leaves_(std::move(leaves)),
        shape_(num_experts()) {}

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return leaves_.input_dim(); }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return leaves_.size() / num_trees_; }
  /// Longest row.
  [[nodiscard]] Index max_active() const noexcept { return num_experts(); }
  /// Number of trees k.
  [[nodiscard]] Index num_trees() const noexcept { return num_trees_; }
  /// Width of the smooth-step.
  [[nodiscard]] S gamma() const noexcept { return gamma_; }
  /// Of every tree.
  [[nodiscard]] const portable::TreeShape& shape() const noexcept { return shape_; }
  /// Column q k + j is node q (heap order) of tree j.
  [[nodiscard]] const Hyperplanes<S>& splits() const noexcept { return splits_; }
  /// Column i k + j is leaf i (from left to right) of tree j.
  [[nodiscard]] const Hyperplanes<S>& leaves() const noexcept { return leaves_; }
  /// One of them.
  [[nodiscard]] S split_logit(Index plane, const S* x) const { return splits_.logit(plane, x); }
  /// One of them.
  [[nodiscard]] S leaf_logit(Index plane, const S* x) const { return leaves_.logit(plane, x); }

  /// Memory for one sample.
  struct Scratch {
    std::vector<portable::LiveList<1, S>> walk;    ///< Of the paths.
    std::vector<portable::ReachedLeaf<S>> leaves;  ///< n k
  };
  /// Calls add(slot, weight); false if a logit overflows.
  template <class Add>
  [[nodiscard]] bool route_sample(const S* x, Scratch& scratch, Add add) const {
    scratch.walk.resize(std::size_t(shape_.num_levels * num_trees_));
    scratch.leaves.resize(std::size_t(leaves_.size()));
    return portable::route_comet(*this, x, scratch.walk.data(), scratch.leaves.data(), add);
  }

 private:
  Index num_trees_;
  S gamma_;
  Hyperplanes<S> splits_;  // d x (n-1)k
  Hyperplanes<S> leaves_;  // d x n k
  portable::TreeShape shape_;
};

/// \brief The numbers of a DSelect-k gate. A slot is code i, or, if has_slots(), code i of selector
/// j at i k + j.
template <class S>
class DSelectKTables {
 public:
  using Scalar = S;                                                       ///< float or double.
  static constexpr std::string_view name = "frozen_dselect_k";            ///< Of the gate.
  static constexpr std::string_view where = "FrozenDSelectKGate::route";  ///< Of it, in messages.

  /// \param bits     column j m + t is bit t of selector j, the most significant first
  /// \param mixture  column j is selector j
  DSelectKTables(Index num_experts, S gamma, bool has_slots, Hyperplanes<S> bits,
                 Hyperplanes<S> mixture)
      : num_experts_(num_experts),
        gamma_(gamma),
        has_slots_(has_slots),
        bits_(std::move(bits)),
        mixture_(std::move(mixture)),
        shape_(Index(1) << num_bits()) {}

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return bits_.input_dim(); }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return num_experts_; }
  /// Longest row.
  [[nodiscard]] Index max_active() const noexcept { return num_experts_; }
  /// Number of selectors k.
  [[nodiscard]] Index num_selectors() const noexcept { return mixture_.size(); }
  /// Number of bits m.
  [[nodiscard]] Index num_bits() const noexcept { return bits_.size() / mixture_.size(); }
  /// Whether weights come by selector.
  [[nodiscard]] bool has_slots() const noexcept { return has_slots_; }
  /// Width of the smooth-step.
  [[nodiscard]] S gamma() const noexcept { return gamma_; }
  /// Of every tree.
  [[nodiscard]] const portable::TreeShape& shape() const noexcept { return shape_; }
  /// Column j m + t is bit t of selector j, the most significant first.
  [[nodiscard]] const Hyperplanes<S>& bits() const noexcept { return bits_; }
  /// Column j is selector j.
  [[nodiscard]] const Hyperplanes<S>& mixture() const noexcept { return mixture_; }
  /// One of them.
  [[nodiscard]] S bit_logit(Index plane, const S* x) const { return bits_.logit(plane, x); }
  /// One of them.
  [[nodiscard]] S mixture_logit(Index plane, const S* x) const { return mixture_.logit(plane, x); }

  /// Memory for one sample.
  struct Scratch {
    std::vector<portable::LiveList<1, S>> walk;  ///< Of the prefixes.
    std::vector<S> share;                        ///< Of every bit.
    std::vector<S> mixture;                      ///< Of every selector.
  };
  /// Calls add(slot, weight); false if a logit is not finite.
  template <class Add>
  [[nodiscard]] bool route_sample(const S* x, Scratch& scratch, Add add) const {
    scratch.walk.resize(std::size_t((num_bits() + 1) * num_selectors()));
    scratch.share.resize(std::size_t(bits_.size()));
    scratch.mixture.resize(std::size_t(mixture_.size()));
    return portable::route_dselect_k(*this, x, scratch.walk.data(), scratch.share.data(),
                                     scratch.mixture.data(), add);
  }

 private:
  Index num_experts_;
  S gamma_;
  bool has_slots_;
  Hyperplanes<S> bits_;     // d x k m
  Hyperplanes<S> mixture_;  // d x k
  portable::TreeShape shape_;
};

/// \brief The numbers of a gate that takes the k largest of n logits. A slot is a logit.
template <class S>
class TopKTables {
 public:
  using Scalar = S;                                                   ///< float or double.
  static constexpr std::string_view name = "frozen_top_k";            ///< Of the gate.
  static constexpr std::string_view where = "FrozenTopKGate::route";  ///< Of it, in messages.

  /// \param over_all  whether the softmax is over all logits, not only over the selected ones
  TopKTables(Index k, bool over_all, Hyperplanes<S> logits)
      : k_(k), over_all_(over_all), logits_(std::move(logits)) {}

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return logits_.input_dim(); }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return logits_.size(); }
  /// Longest row.
  [[nodiscard]] Index max_active() const noexcept { return k_; }
  /// The length of every row, k.
  [[nodiscard]] Index num_selected() const noexcept { return k_; }
  /// Whether the softmax is over all logits.
  [[nodiscard]] bool over_all() const noexcept { return over_all_; }
  /// One function per column.
  [[nodiscard]] const Hyperplanes<S>& logits() const noexcept { return logits_; }
  /// One of them.
  [[nodiscard]] S expert_logit(Index plane, const S* x) const { return logits_.logit(plane, x); }

  /// Memory for one sample.
  struct Scratch {
    std::vector<S> logits;        ///< n
    std::vector<ExpertId> order;  ///< n
    std::vector<S> weights;       ///< k
  };
  /// Calls add(slot, weight); false if a logit is not finite.
  template <class Add>
  [[nodiscard]] bool route_sample(const S* x, Scratch& scratch, Add add) const {
    scratch.logits.resize(std::size_t(num_experts()));
    scratch.order.resize(std::size_t(num_experts()));
    scratch.weights.resize(std::size_t(k_));
    return portable::route_top_k(*this, x, scratch.logits.data(), scratch.order.data(),
                                 scratch.weights.data(), add);
  }

 private:
  Index k_;
  bool over_all_;
  Hyperplanes<S> logits_;  // d x n
};

/// \brief A gate for inference: tables of numbers, and labels that say whose weight a slot's is.
///
/// route() gives the bits of the gate it was made from. A permutation is a table of labels and not
/// a new order of slots, so that all sums keep theirs; ties of logits go to the smaller slot, as
/// before the permutation.
///
/// \par Cost     as the gate's own route(), for one sample at a time
/// \par Threads  route() is const: concurrent calls are safe with distinct routings and passes
/// \tparam Tables  CometTables, DSelectKTables, TopKTables
/// \see freeze, emit_cpp
template <class Tables>
class FrozenGate {
 public:
  using Scalar = typename Tables::Scalar;                 ///< float or double.
  using S = Scalar;                                       ///< The same.
  static constexpr std::string_view name = Tables::name;  ///< Of its kind.

  /// \brief Scratch of a FrozenGate.
  class Workspace {
    friend class FrozenGate;
    typename Tables::Scratch scratch_;
    RowBuilder<S> row_;
  };

  /// \param labels  the expert of every slot
  FrozenGate(Tables tables, std::vector<ExpertId> labels)
      : tables_(std::move(tables)), labels_(std::move(labels)) {}

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return tables_.input_dim(); }
  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return tables_.num_experts(); }
  /// Longest row that route() can give.
  [[nodiscard]] Index max_active() const noexcept { return tables_.max_active(); }
  /// What it knows.
  [[nodiscard]] const Tables& tables() const noexcept { return tables_; }
  /// The expert of every slot.
  [[nodiscard]] std::span<const ExpertId> labels() const noexcept { return labels_; }

  /// \brief Routes a batch. \param samples  d x B \param routing  resized here
  /// \throws std::invalid_argument if x.rows() != input_dim()
  /// \throws NotFinite if x is not finite or logits overflow
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<FrozenGate>& pass) const {
    constexpr std::string_view where = Tables::where;
    samples.validate(where, input_dim());
    auto& ws = pass.workspace;
    routing.clear();
    for (Index b = 0; b < samples.size(); ++b) {
      ws.row_.clear();
      const auto add = [&](Index slot, S weight) {
        ws.row_.add(labels_[std::size_t(slot)], weight);
      };
      if (samples.is_live(b) &&
          !tables_.route_sample(samples.features.col(b).data(), ws.scratch_, add)) [[unlikely]]
        detail::raise_not_finite(where, "the logits of sample " + std::to_string(b), "overflow");
      ws.row_.end(routing);
    }
  }

 private:
  Tables tables_;
  std::vector<ExpertId> labels_;
};

template <class S>
using FrozenCometGate = FrozenGate<CometTables<S>>;  ///< Of a CometGate.
template <class S>
using FrozenDSelectKGate = FrozenGate<DSelectKTables<S>>;  ///< Of a DSelectKGate.
template <class S>
using FrozenTopKGate = FrozenGate<TopKTables<S>>;  ///< Of a TopKGate.

}  // namespace comet
