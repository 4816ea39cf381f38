// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>

namespace programs::bert {

using comet::Index;

/// \brief A gate that is asked once for each sentence: it sees the mean of the sentence's tokens,
/// and all of them go where it says (Zuo et al., MoEBERT, NAACL 2022). Itself a gate of tokens,
/// whose ids are the numbers of their sentences.
///
/// Padding is not in the mean, and is routed nowhere. Penalties are over sentences.
///
/// \par Cost     the gate's for each sentence, and O(d) for each token
/// \par Threads  const in route(), forward() and backward(); those of the pass are the gate's
/// \tparam G     a TrainableGate that looks at features
template <class G>
class SentenceGate {
 public:
  using Scalar = typename G::Scalar;
  using S = Scalar;
  template <class T>
  using Pass = comet::Pass<T>;
  using Samples = comet::Samples<S>;
  using Routing = comet::Routing<S>;
  /// All tokens of a sentence have a part in its row.
  static constexpr bool depends_on_batch = true;

  /// Scratch of a pass.
  class Workspace {
    friend class SentenceGate;
    Pass<G> inner_;
    comet::Buffer<S> means_, dmeans_;  // d x sentences
    std::vector<S> sizes_;             // tokens of each sentence, without padding
    std::vector<std::uint8_t> mask_;   // of sentences: whether there is any
    Routing rows_;                     // of sentences
    comet::AlignedVector<S> drows_;    // one per entry of them
    Index num_samples_ = -1;           // of the forward() that backward() may follow
  };

  explicit SentenceGate(G gate) : gate_(std::move(gate)) {}

  /// The gate inside, whose samples are sentences.
  [[nodiscard]] const G& gate() const noexcept { return gate_; }
  [[nodiscard]] Index num_experts() const { return gate_.num_experts(); }
  [[nodiscard]] Index max_active() const { return gate_.max_active(); }
  [[nodiscard]] Index input_dim() const { return comet::gate_input_dim(gate_); }
  [[nodiscard]] std::string_view name() const { return comet::gate_name(gate_); }
  /// What the gate can do of what is handed on.
  [[nodiscard]] comet::GateCapabilities capabilities() const {
    const comet::GateCapabilities inner = comet::capabilities(gate_);
    return {.trains = inner.trains,
            .selectors = inner.selectors,
            .anneals = inner.anneals,
            .loads = inner.loads};
  }

  /// \throws std::invalid_argument if ids are none, or no numbers of sentences
  void route(const Samples& tokens, Routing& routing, Pass<SentenceGate>& pass) const {
    Workspace& ws = start(tokens, pass);
    gate_.route(sentences(ws), ws.rows_, ws.inner_);
    repeat(tokens, ws.rows_, routing);
  }
  void forward(const Samples& tokens, Routing& routing, comet::RandomKey key,
               Pass<SentenceGate>& pass) const {
    Workspace& ws = start(tokens, pass);
    gate_.forward(sentences(ws), ws.rows_, key, ws.inner_);
    repeat(tokens, ws.rows_, routing);
    ws.num_samples_ = tokens.size();
  }
  /// \throws std::invalid_argument if the pass holds no forward() of this batch
  void backward(const Samples& tokens, const Routing& routing, std::span<const S> dweights,
                comet::MatrixView<S> dx, Pass<SentenceGate>& pass) const {
    Workspace& ws = pass.workspace;
    tokens.validate_backward("SentenceGate::backward", routing, dweights, dx, ws.num_samples_);
    sum_by_sentence(tokens, routing, dweights, ws);
    auto dmeans = ws.dmeans_.shape(tokens.dim(), Index(ws.sizes_.size()));
    dmeans.setZero();
    ws.inner_.borrow(pass.gradients(*this));
    gate_.backward(sentences(ws), ws.rows_, std::span<const S>(ws.drows_), dmeans, ws.inner_);
    for (Index t = 0; t < tokens.size(); ++t)
      if (tokens.is_live(t)) {
        const Index sentence = tokens.ids[std::size_t(t)];
        dx.col(t) += dmeans.col(sentence) / ws.sizes_[std::size_t(sentence)];
      }
  }
  /// The penalty of the last forward().
  [[nodiscard]] S regularization(const Pass<SentenceGate>& pass) const {
    return S(gate_.regularization(pass.workspace.inner_));
  }

  [[nodiscard]] Index num_selectors() const requires comet::SelectorGate<G> {
    return gate_.num_selectors();
  }
  void route_slots(const Samples& tokens, Routing& routing,
                   Pass<SentenceGate>& pass) const requires comet::SelectorGate<G> {
    Workspace& ws = start(tokens, pass);
    gate_.route_slots(sentences(ws), ws.rows_, ws.inner_);
    repeat(tokens, ws.rows_, routing);
  }
  void forward_slots(const Samples& tokens, Routing& routing, comet::RandomKey key,
                     Pass<SentenceGate>& pass) const requires comet::SelectorGate<G> {
    Workspace& ws = start(tokens, pass);
    gate_.forward_slots(sentences(ws), ws.rows_, key, ws.inner_);
    repeat(tokens, ws.rows_, routing);
    ws.num_samples_ = tokens.size();
  }
  void anneal(const comet::GateAnnealing& settings) requires comet::AnnealableGate<G> {
    gate_.anneal(settings);
  }
  /// \param load  of tokens
  void end_of_step(std::span<const Index> load,
                   const Pass<SentenceGate>& pass) requires comet::LoadedGate<G> {
    comet::end_of_step(gate_, load, pass.workspace.inner_);
  }

  template <class F>
  void visit(F&& f) const {
    gate_.visit(f);
  }
  template <class F>
  void visit_state(F&& f) requires comet::Stateful<G> {
    gate_.visit_state(f);
  }
  template <class F>
  void visit_state(F&& f) const requires comet::Stateful<G> {
    gate_.visit_state(f);
  }
  void restored() requires comet::Stateful<G> { gate_.restored(); }

  /// \brief Calls f(samples) with the sentences as the gate sees them.
  template <class F>
  auto with_sentences(const Samples& tokens, F f) const {
    Workspace ws;
    average(tokens, ws);
    return f(sentences(ws));
  }

 private:
  static Workspace& start(const Samples& tokens, Pass<SentenceGate>& pass) {
    Workspace& ws = pass.workspace;
    ws.num_samples_ = -1;
    ws.inner_.run_in(pass);
    average(tokens, ws);
    return ws;
  }

  static Samples sentences(const Workspace& ws) {
    return Samples(ws.means_.matrix(), {}, std::span<const std::uint8_t>(ws.mask_));
  }

  static void average(const Samples& tokens, Workspace& ws) {
    constexpr const char* where = "SentenceGate";
    tokens.validate(where);
    comet::detail::check_equal(where, "ids.size()", Index(tokens.ids.size()), "number of tokens",
                               tokens.size());
    Index count = 0;
    for (const std::int32_t id : tokens.ids) {
      comet::detail::check_at_least(where, "id", id, 0);
      comet::detail::check_at_most(where, "id", id, "number of tokens - 1", tokens.size() - 1);
      count = std::max(count, Index(id) + 1);
    }
    ws.sizes_.assign(std::size_t(count), S(0));
    auto means = ws.means_.shape(tokens.dim(), count);
    means.setZero();
    for (Index t = 0; t < tokens.size(); ++t)
      if (tokens.is_live(t)) {
        means.col(tokens.ids[std::size_t(t)]) += tokens.features.col(t);
        ws.sizes_[std::size_t(tokens.ids[std::size_t(t)])] += S(1);
      }
    ws.mask_.resize(std::size_t(count));
    for (Index i = 0; i < count; ++i) {
      const S size = ws.sizes_[std::size_t(i)];
      ws.mask_[std::size_t(i)] = size > 0 ? 1 : 0;
      if (size > 0) means.col(i) /= size;
    }
  }

  /// Each token's row is that of its sentence.
  static void repeat(const Samples& tokens, const Routing& rows, Routing& routing) {
    routing.clear();
    for (Index t = 0; t < tokens.size(); ++t) {
      if (tokens.is_live(t)) {
        const Index sentence = tokens.ids[std::size_t(t)];
        const auto experts = rows.experts(sentence);
        const auto weights = rows.weights(sentence);
        for (std::size_t i = 0; i < experts.size(); ++i) routing.push(experts[i], weights[i]);
      }
      routing.end_sample();
    }
  }

  static void sum_by_sentence(const Samples& tokens, const Routing& routing,
                              std::span<const S> dweights, Workspace& ws) {
    ws.drows_.assign(std::size_t(ws.rows_.num_entries()), S(0));
    for (Index t = 0; t < tokens.size(); ++t) {
      if (!tokens.is_live(t)) continue;
      const S* from = dweights.data() + routing.offsets()[std::size_t(t)];
      const auto sentence = std::size_t(tokens.ids[std::size_t(t)]);
      S* to = ws.drows_.data() + ws.rows_.offsets()[sentence];
      const std::size_t entries = ws.rows_.experts(Index(sentence)).size();
      for (std::size_t i = 0; i < entries; ++i) to[i] += from[i];
    }
  }

  G gate_;
};

}  // namespace programs::bert
