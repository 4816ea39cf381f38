// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/any.hpp>
#include <comet/layers/dense.hpp>
#include <comet/layers/embedding.hpp>
#include <comet/layers/layer_norm.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/losses/softmax_cross_entropy.hpp>
#include <comet/moe_layer.hpp>

#include <next_character/model/model_options.hpp>
#include <programs/base/piece.hpp>

namespace programs::next_character {

using comet::ConstMatrixView;
using comet::Matrix;
using comet::MatrixView;
using comet::RandomKey;

/// \brief The loss of a batch and what it is made of.
struct Loss {
  double cross_entropy = 0;  ///< in nats
  double penalty = 0;        ///< of the gate
  [[nodiscard]] double total() const noexcept { return cross_entropy + penalty; }
};

/// \brief Says which character follows some others: a mixture of experts where a transformer has
/// its feed-forward block.
///
///     embeddings of a window -> dense ReLU -> h
///     r = h + mixture(LN(h));  logits = dense(LN(r))
///
/// An expert is dense GELU, dense. Gate and experts see the same normalised h; a gate that looks at
/// ids sees the last character. A dense network is a mixture of one expert whose gate is a table.
///
/// \par Threads  const while it runs; one Pass per thread
/// \tparam S     float or double
template <class S>
class NextCharacterModel {
 public:
  using Scalar = S;
  using Gate = comet::PermutedGate<comet::AnyGate<S>>;
  using Expert = comet::MlpExpert<S>;
  using Mixture = comet::MoeLayer<Gate, Expert>;
  using Pass = comet::Pass<NextCharacterModel>;
  class Workspace;

  /// \param gate  for hidden_dim features and num_experts experts
  NextCharacterModel(const ModelOptions& options, Gate gate, RandomKey key)
      : embedding_({.num_ids = options.symbols, .output_dim = options.embedding_dim}, key.fold(0)),
        input_({.input_dim = options.window * options.embedding_dim,
                .output_dim = options.hidden_dim,
                .activation = comet::Activation::relu},
               key.fold(1)),
        norm_({.input_dim = options.hidden_dim}),
        mixture_(std::move(gate),
                 comet::make_experts<Expert>(options.num_experts,
                                             {.input_dim = options.hidden_dim,
                                              .hidden_dim = options.expert_dim,
                                              .output_dim = options.hidden_dim,
                                              .activation = comet::Activation::gelu},
                                             key.fold(2))),
        output_norm_({.input_dim = options.hidden_dim}),
        output_({.input_dim = options.hidden_dim, .output_dim = options.symbols}, key.fold(3)) {}

  [[nodiscard]] const Mixture& mixture() const noexcept { return mixture_; }
  /// One.
  [[nodiscard]] const std::vector<Gate>& gates() const noexcept { return mixture_.gates(); }
  [[nodiscard]] std::vector<Gate>& gates() noexcept { return mixture_.gates(); }
  [[nodiscard]] Index num_symbols() const noexcept { return output_.output_dim(); }

  /// Multiply-adds a character of all but the mixture.
  [[nodiscard]] double cost_beside_mixture() const noexcept {
    return double(input_.input_dim()) * double(input_.output_dim()) +
           double(output_.input_dim()) * double(output_.output_dim());
  }

  /// \brief Logits of what comes next.
  /// \param windows  of symbols, one behind the other, the first character first
  /// \param last     the last symbol of each
  /// \return symbols x B, valid until the pass is used again
  ConstMatrixView<S> predict(std::span<const std::int32_t> windows,
                             std::span<const std::int32_t> last, Pass& pass) const;

  /// \brief Adds the gradients of the loss of a training batch to those of the pass and returns the
  /// loss.
  /// \param next  B symbols, what came next
  /// \param key   of this step: a gate's noise is drawn from it
  /// \param piece  that these are of the batch: the gradients are their part of the batch's, the
  ///               loss is their own
  /// \throws comet::NotFinite if it diverges
  Loss accumulate_gradients(std::span<const std::int32_t> windows,
                            std::span<const std::int32_t> last, std::span<const std::int32_t> next,
                            RandomKey key, Pass& pass, Piece piece = {}) const;

  template <class F>
  void visit(F&& f) const {
    f("embedding", embedding_);
    f("input", input_);
    f("norm", norm_);
    mixture_.visit(f);
    f("output_norm", output_norm_);
    f("output", output_);
  }

 private:
  [[nodiscard]] static Workspace& start(Pass& pass);
  /// From the windows to what the mixture sees.
  comet::Samples<S> embed(std::span<const std::int32_t> windows, std::span<const std::int32_t> last,
                          Workspace& ws) const;
  /// From the mixtures to the logits.
  void finish(Workspace& ws) const;
  /// Where the parts add their gradients.
  void share_gradients(Pass& pass) const;

  comet::Embedding<S> embedding_;
  comet::Dense<S> input_;
  comet::LayerNorm<S> norm_;
  Mixture mixture_;
  comet::LayerNorm<S> output_norm_;
  comet::Dense<S> output_;
};

/// \brief Scratch of a NextCharacterModel; grows to the largest batch seen.
template <class S>
class NextCharacterModel<S>::Workspace {
 public:
  /// Routing of the last batch, and the pass of the gate.
  [[nodiscard]] const typename Mixture::Workspace& mixture() const noexcept {
    return mixture_.workspace;
  }
  /// Of the last batch, after the first ReLU: hidden_dim x B.
  [[nodiscard]] ConstMatrixView<S> hidden() const { return hidden_.matrix(); }
  /// What gate and experts saw of the last batch: hidden_dim x B.
  [[nodiscard]] ConstMatrixView<S> normalized() const { return normalized_.matrix(); }
  /// Of the last batch: symbols x B.
  [[nodiscard]] ConstMatrixView<S> logits() const { return logits_.matrix(); }

 private:
  friend class NextCharacterModel;

  comet::Buffer<S> x_, dx_;                        // (window embedding_dim) x B
  comet::Buffer<S> hidden_, dhidden_;              // hidden_dim x B: h, later by r too
  comet::Buffer<S> normalized_, dnormalized_;      // hidden_dim x B: LN(h)
  comet::Buffer<S> residual_;                      // hidden_dim x B: the mixture, then r
  comet::Buffer<S> output_input_, doutput_input_;  // hidden_dim x B: LN(r)
  comet::Buffer<S> logits_, dlogits_;              // symbols x B
  comet::Pass<comet::Embedding<S>> embedding_;
  comet::Pass<comet::Dense<S>> input_, output_;
  comet::Pass<comet::LayerNorm<S>> norm_, output_norm_;
  comet::Pass<Mixture> mixture_;
};

template <class S>
typename NextCharacterModel<S>::Workspace& NextCharacterModel<S>::start(Pass& pass) {
  Workspace& ws = pass.workspace;
  ws.input_.pool = ws.output_.pool = pass.pool;
  ws.norm_.pool = ws.output_norm_.pool = pass.pool;
  ws.mixture_.run_in(pass);
  return ws;
}

template <class S>
comet::Samples<S> NextCharacterModel<S>::embed(std::span<const std::int32_t> windows,
                                               std::span<const std::int32_t> last,
                                               Workspace& ws) const {
  const auto samples = Index(last.size());
  auto x = ws.x_.shape(input_.input_dim(), samples);
  auto hidden = ws.hidden_.shape(input_.output_dim(), samples);
  auto normalized = ws.normalized_.shape(input_.output_dim(), samples);
  embedding_.forward(windows, x);
  input_.predict(x, hidden, ws.input_);
  norm_.predict(hidden, normalized, ws.norm_);
  return comet::Samples<S>(normalized, last);
}

template <class S>
void NextCharacterModel<S>::finish(Workspace& ws) const {
  auto residual = ws.residual_.matrix();
  residual += ws.hidden_.matrix();
  auto normalized = ws.output_input_.shape(residual.rows(), residual.cols());
  output_norm_.predict(residual, normalized, ws.output_norm_);
  output_.predict(normalized, ws.logits_.shape(num_symbols(), residual.cols()), ws.output_);
}

template <class S>
ConstMatrixView<S> NextCharacterModel<S>::predict(std::span<const std::int32_t> windows,
                                                  std::span<const std::int32_t> last,
                                                  Pass& pass) const {
  Workspace& ws = start(pass);
  const comet::Samples<S> samples = embed(windows, last, ws);
  mixture_.predict(samples, ws.residual_.shape(samples.dim(), samples.size()), ws.mixture_);
  finish(ws);
  return ws.logits_.matrix();
}

template <class S>
Loss NextCharacterModel<S>::accumulate_gradients(std::span<const std::int32_t> windows,
                                                 std::span<const std::int32_t> last,
                                                 std::span<const std::int32_t> next, RandomKey key,
                                                 Pass& pass, Piece piece) const {
  Workspace& ws = start(pass);
  comet::Samples<S> samples = embed(windows, last, ws);
  samples.first = piece.first;
  const Index features = samples.dim(), size = samples.size();
  mixture_.forward(samples, ws.residual_.shape(features, size), key, ws.mixture_);
  finish(ws);

  auto dlogits = ws.dlogits_.shape(num_symbols(), size);
  Loss loss;
  loss.cross_entropy = comet::softmax_cross_entropy(ws.logits_.matrix(), next, dlogits);
  loss.penalty = double(mixture_.regularization(ws.mixture_));
  dlogits *= S(piece.share);

  share_gradients(pass);
  auto doutput_input = ws.doutput_input_.shape(features, size);
  auto dhidden = ws.dhidden_.shape(features, size);
  auto dnormalized = ws.dnormalized_.shape(features, size);
  auto dx = ws.dx_.shape(input_.input_dim(), size);
  doutput_input.setZero(), dhidden.setZero(), dnormalized.setZero(), dx.setZero();
  output_.backward(ws.output_input_.matrix(), ws.logits_.matrix(), dlogits, doutput_input,
                   ws.output_);
  // The gradient by r is one by h, which is a part of it, and by the mixture.
  output_norm_.backward(ws.residual_.matrix(), ws.output_input_.matrix(), doutput_input, dhidden,
                        ws.output_norm_);
  mixture_.backward(samples, dhidden, dnormalized, ws.mixture_);
  norm_.backward(ws.hidden_.matrix(), ws.normalized_.matrix(), dnormalized, dhidden, ws.norm_);
  input_.backward(ws.x_.matrix(), ws.hidden_.matrix(), dhidden, dx, ws.input_);
  embedding_.backward(windows, dx, ws.embedding_);
  return loss;
}

template <class S>
void NextCharacterModel<S>::share_gradients(Pass& pass) const {
  Workspace& ws = pass.workspace;
  comet::GradientView<S> rest = pass.gradients(*this);
  ws.embedding_.borrow(rest.next(embedding_));
  ws.input_.borrow(rest.next(input_));
  ws.norm_.borrow(rest.next(norm_));
  ws.mixture_.borrow(rest.next(mixture_));
  ws.output_norm_.borrow(rest.next(output_norm_));
  ws.output_.borrow(rest.next(output_));
}

/// The program's.
using Model = NextCharacterModel<float>;

}  // namespace programs::next_character
