// SPDX-License-Identifier: MIT
#pragma once

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
#include <comet/gates/detail/slot_labels.hpp>
#include <comet/gates/hyperplanes.hpp>
#include <comet/kernels/portable/route.hpp>

/// \file
/// \brief Gates that only route: tables of numbers, labels, and the kernel for one sample that
/// emitted headers have too.

namespace comet {

namespace detail {

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
/// \see docs/math.md, equations (2)-(5)
template <class S>
struct CometTables {
  using Scalar = S;                                                    ///< float or double.
  static constexpr std::string_view name = "frozen_comet";             ///< Of the gate.
  static constexpr std::string_view where = "FrozenCometGate::route";  ///< In messages.

  Index n;                       ///< Number of experts.
  Index k;                       ///< Number of trees.
  S gamma;                       ///< Width of the smooth-step.
  Hyperplanes<S> splits;         ///< Column q k + j is node q (heap order) of tree j.
  Hyperplanes<S> leaves;         ///< Column i k + j is leaf i of tree j.
  portable::TreeShape shape{n};  ///< Of every tree.

  [[nodiscard]] Index input_dim() const noexcept { return leaves.input_dim(); }  ///< d
  [[nodiscard]] Index num_experts() const noexcept { return n; }                 ///< n
  [[nodiscard]] Index max_active() const noexcept { return n; }                  ///< Of a row.
  [[nodiscard]] Index num_slots() const noexcept { return n * k; }               ///< Labels.
  /// One of the splits.
  [[nodiscard]] S split_logit(Index plane, const S* x) const { return splits.logit(plane, x); }
  /// One of the leaves.
  [[nodiscard]] S leaf_logit(Index plane, const S* x) const { return leaves.logit(plane, x); }

  /// Memory for one sample.
  struct Scratch {
    std::vector<portable::LiveList<1, S>> walk;    ///< level x k
    std::vector<portable::ReachedLeaf<S>> leaves;  ///< n k
  };
  /// Calls add(slot, weight); false if a logit overflows.
  template <class Add>
  [[nodiscard]] bool route_sample(const S* x, Scratch& scratch, Add add) const {
    scratch.walk.resize(std::size_t(shape.num_levels * k));
    scratch.leaves.resize(std::size_t(leaves.size()));
    return portable::route_comet(*this, x, scratch.walk.data(), scratch.leaves.data(), add);
  }
};

/// \brief The numbers of a DSelect-k gate. A slot is code i, or, if has_slots, code i of selector j
/// at i k + j.
/// \see docs/math.md, equations (2) and (7)
template <class S>
struct DSelectKTables {
  using Scalar = S;                                                       ///< float or double.
  static constexpr std::string_view name = "frozen_dselect_k";            ///< Of the gate.
  static constexpr std::string_view where = "FrozenDSelectKGate::route";  ///< In messages.

  Index n;                 ///< Number of experts.
  Index k;                 ///< Number of selectors.
  Index m;                 ///< Number of bits.
  S gamma;                 ///< Width of the smooth-step.
  bool has_slots;          ///< Whether weights come by selector.
  Hyperplanes<S> bits;     ///< Column j m + t is bit t of selector j, the most significant first.
  Hyperplanes<S> mixture;  ///< Column j is selector j.
  portable::TreeShape shape{Index(1) << m};  ///< Of the codes' prefixes.

  [[nodiscard]] Index input_dim() const noexcept { return bits.input_dim(); }       ///< d
  [[nodiscard]] Index num_experts() const noexcept { return n; }                    ///< n
  [[nodiscard]] Index max_active() const noexcept { return n; }                     ///< Of a row.
  [[nodiscard]] Index num_slots() const noexcept { return has_slots ? n * k : n; }  ///< Labels.
  /// One of the bits.
  [[nodiscard]] S bit_logit(Index plane, const S* x) const { return bits.logit(plane, x); }
  /// One of the selectors.
  [[nodiscard]] S mixture_logit(Index plane, const S* x) const { return mixture.logit(plane, x); }

  /// Memory for one sample.
  struct Scratch {
    std::vector<portable::LiveList<1, S>> walk;  ///< level x k
    std::vector<S> share;                        ///< Of every bit.
    std::vector<S> mixture;                      ///< Of every selector.
  };
  /// Calls add(slot, weight); false if a logit is not finite.
  template <class Add>
  [[nodiscard]] bool route_sample(const S* x, Scratch& scratch, Add add) const {
    scratch.walk.resize(std::size_t(shape.num_levels * k));
    scratch.share.resize(std::size_t(bits.size()));
    scratch.mixture.resize(std::size_t(k));
    return portable::route_dselect_k(*this, x, scratch.walk.data(), scratch.share.data(),
                                     scratch.mixture.data(), add);
  }
};

/// \brief The numbers of a gate that takes the k largest of n logits. A slot is a logit.
/// \see docs/math.md, equation (9)
template <class S>
struct TopKTables {
  using Scalar = S;                                                   ///< float or double.
  static constexpr std::string_view name = "frozen_top_k";            ///< Of the gate.
  static constexpr std::string_view where = "FrozenTopKGate::route";  ///< In messages.

  Index k;                  ///< Number of logits that are taken.
  bool over_all;            ///< Whether the softmax is over all logits, not the selected ones.
  Hyperplanes<S> logits;    ///< One function per column.
  Index n = logits.size();  ///< Number of experts.

  [[nodiscard]] Index input_dim() const noexcept { return logits.input_dim(); }  ///< d
  [[nodiscard]] Index num_experts() const noexcept { return n; }                 ///< n
  [[nodiscard]] Index max_active() const noexcept { return k; }                  ///< Of a row.
  [[nodiscard]] Index num_slots() const noexcept { return n; }                   ///< Labels.
  /// One of the logits.
  [[nodiscard]] S expert_logit(Index plane, const S* x) const { return logits.logit(plane, x); }

  /// Memory for one sample.
  struct Scratch {
    std::vector<S> logits;        ///< n
    std::vector<ExpertId> order;  ///< n
    std::vector<S> weights;       ///< k
  };
  /// Calls add(slot, weight); false if a logit is not finite.
  template <class Add>
  [[nodiscard]] bool route_sample(const S* x, Scratch& scratch, Add add) const {
    scratch.logits.resize(std::size_t(n));
    scratch.order.resize(std::size_t(n));
    scratch.weights.resize(std::size_t(k));
    return portable::route_top_k(*this, x, scratch.logits.data(), scratch.order.data(),
                                 scratch.weights.data(), add);
  }
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
  /// \throws std::invalid_argument if there are more or fewer labels than slots, or one is no
  ///         expert
  FrozenGate(Tables tables, std::vector<ExpertId> labels)
      : tables_(std::move(tables)), labels_(std::move(labels)) {
    constexpr const char* where = "FrozenGate";
    detail::check_equal(where, "labels.size()", Index(labels_.size()), "number of slots",
                        tables_.num_slots());
    for (const ExpertId label : labels_)
      detail::check_index(where, "a label", label, "num_experts", num_experts());
  }

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
