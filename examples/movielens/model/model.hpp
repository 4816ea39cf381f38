// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/storage.hpp>
#include <comet/core/types.hpp>
#include <comet/experts/dense.hpp>
#include <comet/experts/frozen.hpp>
#include <comet/gates/any.hpp>
#include <comet/layers/embedding.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/losses/binary_cross_entropy.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/moe_layer.hpp>

#include <movielens/model/head.hpp>
#include <movielens/model/model_options.hpp>

namespace programs::movielens {

using comet::ConstMatrixView;
using comet::Matrix;
using comet::MatrixView;
using comet::RandomKey;

/// \brief The loss of a batch and what it is made of.
struct Loss {
  double watched = 0;  ///< binary cross-entropy
  double rating = 0;   ///< mean squared error over the known ratings
  double penalty = 0;  ///< of the gates
  double total = 0;    ///< weighted sum
};

/// \brief The two-task model of Ibrahim et al. (COMET, KDD 2023, supplement).
///
///     user embedding | item embedding -> x -> mixture of dense ReLU experts, one gate per task
///     task 0: dense ReLU -> logit of "watched";  task 1: dense ReLU -> rating in stars
///
/// Gates see x and the number of the movie. Every gate is wrapped in a PermutedGate: without a
/// search it keeps the identity, which costs a look-up per entry.
///
/// \par Threads  const while it runs; one Pass per thread
/// \tparam S     float or double
template <class S>
class TwoTaskModel {
 public:
  using Scalar = S;
  using Gate = comet::PermutedGate<comet::AnyGate<S>>;
  using Mixture = comet::MoeLayer<Gate, comet::DenseExpert<S>>;
  using Served = comet::MoeLayer<Gate, comet::FrozenExpert<S>>;
  using Pass = comet::Pass<TwoTaskModel>;
  class Workspace;

  static constexpr std::size_t num_tasks = 2;

  /// \param gates  one per task, for x of 2 * embedding_dim features
  TwoTaskModel(const ModelOptions& options, std::vector<Gate> gates, RandomKey key)
      : users_({.num_ids = options.num_users, .output_dim = options.embedding_dim}, key.fold(0)),
        items_({.num_ids = options.num_items, .output_dim = options.embedding_dim}, key.fold(1)),
        mixture_(std::move(gates),
                 comet::make_experts<comet::DenseExpert<S>>(options.num_experts,
                                                            {.input_dim = 2 * options.embedding_dim,
                                                             .output_dim = options.expert_dim,
                                                             .dropout = options.dropout},
                                                            key.fold(2))) {
    for (std::size_t task = 0; task < num_tasks; ++task)
      heads_.emplace_back(options, key.fold(3).fold(task));
  }

  [[nodiscard]] const Mixture& mixture() const noexcept { return mixture_; }
  /// One per task.
  [[nodiscard]] const std::vector<Gate>& gates() const noexcept { return mixture_.gates(); }
  [[nodiscard]] std::vector<Gate>& gates() noexcept { return mixture_.gates(); }

  /// \brief From now on predict() asks experts whose weights are kept like this; training does not.
  void serve(comet::Storage storage) {
    std::vector<comet::FrozenExpert<S>> experts;
    for (const auto& expert : mixture_.experts()) experts.push_back(expert.freeze(storage));
    served_.emplace(mixture_.gates(), std::move(experts));
  }

  /// \brief Logits of "watched" in the first B columns, ratings in the other B.
  /// \return 1 x 2B, valid until the pass is used again
  ConstMatrixView<S> predict(std::span<const std::int32_t> users,
                             std::span<const std::int32_t> items, Pass& pass) const;

  /// \brief Adds the gradients of the loss of a training batch to those of the pass and returns the
  /// loss.
  /// \param watched, rating  1 x B; the rating counts where watched is 1
  /// \param key              of this step: dropout and noise are drawn from it
  /// \throws comet::NotFinite if it diverges
  Loss accumulate_gradients(std::span<const std::int32_t> users,
                            std::span<const std::int32_t> items, const ConstMatrixView<S>& watched,
                            const ConstMatrixView<S>& rating, const TaskWeights& weights,
                            RandomKey key, Pass& pass) const {
    const Loss loss =
        accumulate_above_embeddings(users, items, watched, rating, weights, key, 0, pass);
    accumulate_embeddings(users, items, pass.workspace.dx(), pass);
    return loss;
  }
  /// \brief The first half of it: leaves dx of the embeddings in the pass.
  /// \param first  number of the first sample in a batch of which these are a piece
  Loss accumulate_above_embeddings(std::span<const std::int32_t> users,
                                   std::span<const std::int32_t> items,
                                   const ConstMatrixView<S>& watched,
                                   const ConstMatrixView<S>& rating, const TaskWeights& weights,
                                   RandomKey key, Index first, Pass& pass) const;
  /// \brief The other half. \param dx  2 embedding_dim x B, of this piece or of the whole batch
  void accumulate_embeddings(std::span<const std::int32_t> users,
                             std::span<const std::int32_t> items, const ConstMatrixView<S>& dx,
                             Pass& pass) const {
    users_.backward(users, dx.topRows(users_.output_dim()), pass.workspace.users_);
    items_.backward(items, dx.bottomRows(items_.output_dim()), pass.workspace.items_);
  }

  /// What experts and gates see of some samples: 2 embedding_dim x B.
  [[nodiscard]] Matrix<S> features(std::span<const std::int32_t> users,
                                   std::span<const std::int32_t> items) const {
    Matrix<S> x(mixture_.input_dim(), Index(users.size()));
    embed(users, items, x);
    return x;
  }

  /// The loss, without penalty, that the heads make of given mixtures (expert_dim x 2B).
  [[nodiscard]] double loss_of_mixtures(const ConstMatrixView<S>& mixtures,
                                        const ConstMatrixView<S>& watched,
                                        const ConstMatrixView<S>& rating,
                                        const TaskWeights& weights, Pass& pass) const;

  template <class F>
  void visit(F&& f) const {
    f("user_embedding", users_);
    f("item_embedding", items_);
    above_embeddings().visit(f);
  }

  /// The model without its embeddings, which are the first two tensors.
  [[nodiscard]] auto above_embeddings() const { return MixtureAndHeads{mixture_, heads_}; }

 private:
  /// The columns of a task.
  template <class M>
  static auto of_task(M&& matrix, std::size_t task) {
    const Index samples = matrix.cols() / Index(num_tasks);
    return matrix.middleCols(Index(task) * samples, samples);
  }

  void embed(std::span<const std::int32_t> users, std::span<const std::int32_t> items,
             MatrixView<S> x) const {
    users_.forward(users, x.topRows(users_.output_dim()));
    items_.forward(items, x.bottomRows(items_.output_dim()));
  }
  [[nodiscard]] static Workspace& start(Pass& pass);
  /// A batch as the mixture sees it.
  [[nodiscard]] comet::Samples<S> embedded(std::span<const std::int32_t> users,
                                           std::span<const std::int32_t> items,
                                           Workspace& ws) const;
  /// Where the parts add their gradients.
  void share_gradients(Pass& pass) const;
  void apply_heads(const ConstMatrixView<S>& mixed, Workspace& ws) const;
  void apply_heads_backward(Workspace& ws) const;
  /// Of the outputs. \param gradient  of theirs, 1 x 2B, or no_gradient
  static Loss evaluate_losses(const ConstMatrixView<S>& outputs, const ConstMatrixView<S>& watched,
                              const ConstMatrixView<S>& rating, const TaskWeights& weights,
                              MatrixView<S> gradient);

  comet::Embedding<S> users_;
  comet::Embedding<S> items_;
  Mixture mixture_;
  std::optional<Served> served_;
  std::vector<Head<S>> heads_;  // one per task
};

/// \brief Scratch of a TwoTaskModel; grows to the largest batch seen.
template <class S>
class TwoTaskModel<S>::Workspace {
 public:
  /// Routings of the last batch, and the passes of the gates.
  [[nodiscard]] const typename Mixture::Workspace& mixture() const noexcept {
    return mixture_.workspace;
  }
  /// Gradient of the loss of the last batch by the embeddings: 2 embedding_dim x B.
  [[nodiscard]] ConstMatrixView<S> dx() const { return dx_.matrix(); }
  /// Of a task, of the last batch, whichever experts were asked.
  [[nodiscard]] const comet::Routing<S>& routing(Index task) const {
    return is_served_ ? served_.workspace.routing(task) : mixture_.workspace.routing(task);
  }

 private:
  friend class TwoTaskModel;

  comet::Buffer<S> x_, dx_;              // 2 embedding_dim x B
  comet::Buffer<S> mixed_, dmixed_;      // expert_dim x 2B: task by task
  comet::Buffer<S> hidden_, dhidden_;    // head_dim x 2B
  comet::Buffer<S> outputs_, doutputs_;  // 1 x 2B
  comet::Pass<comet::Embedding<S>> users_, items_;
  comet::Pass<Mixture> mixture_;
  comet::Pass<Served> served_;
  bool is_served_ = false;  // the last batch
  std::array<HeadPass<S>, num_tasks> heads_;
};

template <class S>
typename TwoTaskModel<S>::Workspace& TwoTaskModel<S>::start(Pass& pass) {
  Workspace& ws = pass.workspace;
  ws.mixture_.run_in(pass);
  ws.served_.pool = pass.pool;
  for (auto& head : ws.heads_) head.hidden.pool = head.output.pool = pass.pool;
  return ws;
}

template <class S>
comet::Samples<S> TwoTaskModel<S>::embedded(std::span<const std::int32_t> users,
                                            std::span<const std::int32_t> items,
                                            Workspace& ws) const {
  auto x = ws.x_.shape(mixture_.input_dim(), Index(users.size()));
  embed(users, items, x);
  return comet::Samples<S>(x, items);
}

template <class S>
ConstMatrixView<S> TwoTaskModel<S>::predict(std::span<const std::int32_t> users,
                                            std::span<const std::int32_t> items, Pass& pass) const {
  Workspace& ws = start(pass);
  auto mixed = ws.mixed_.shape(mixture_.output_dim(), 2 * Index(users.size()));
  ws.is_served_ = served_.has_value();
  if (ws.is_served_) {
    served_->predict(embedded(users, items, ws), mixed, ws.served_);
  } else {
    mixture_.predict(embedded(users, items, ws), mixed, ws.mixture_);
  }
  apply_heads(mixed, ws);
  return ws.outputs_.matrix();
}

template <class S>
Loss TwoTaskModel<S>::accumulate_above_embeddings(std::span<const std::int32_t> users,
                                                  std::span<const std::int32_t> items,
                                                  const ConstMatrixView<S>& watched,
                                                  const ConstMatrixView<S>& rating,
                                                  const TaskWeights& weights, RandomKey key,
                                                  Index first, Pass& pass) const {
  Workspace& ws = start(pass);
  comet::Samples<S> samples = embedded(users, items, ws);
  samples.first = first;
  auto mixed = ws.mixed_.shape(mixture_.output_dim(), 2 * samples.size());
  ws.is_served_ = false;
  mixture_.forward(samples, mixed, key, ws.mixture_);
  apply_heads(mixed, ws);

  auto doutputs = ws.doutputs_.shape(1, mixed.cols());
  Loss loss = evaluate_losses(ws.outputs_.matrix(), watched, rating, weights, doutputs);
  loss.penalty = double(mixture_.regularization(ws.mixture_));
  loss.total += loss.penalty;
  of_task(doutputs, 0) *= S(weights.watched);
  of_task(doutputs, 1) *= S(weights.rating);

  share_gradients(pass);
  apply_heads_backward(ws);
  auto dx = ws.dx_.shape(samples.dim(), samples.size());
  dx.setZero();
  mixture_.backward(samples, ws.dmixed_.matrix(), dx, ws.mixture_);
  return loss;
}

template <class S>
double TwoTaskModel<S>::loss_of_mixtures(const ConstMatrixView<S>& mixtures,
                                         const ConstMatrixView<S>& watched,
                                         const ConstMatrixView<S>& rating,
                                         const TaskWeights& weights, Pass& pass) const {
  Workspace& ws = start(pass);
  apply_heads(mixtures, ws);
  return evaluate_losses(ws.outputs_.matrix(), watched, rating, weights, comet::no_gradient).total;
}

template <class S>
void TwoTaskModel<S>::share_gradients(Pass& pass) const {
  Workspace& ws = pass.workspace;
  comet::GradientView<S> rest = pass.gradients(*this);
  ws.users_.borrow(rest.next(users_));
  ws.items_.borrow(rest.next(items_));
  ws.mixture_.borrow(rest.next(mixture_));
  for (std::size_t task = 0; task < num_tasks; ++task) {
    ws.heads_[task].hidden.borrow(rest.next(heads_[task].hidden));
    ws.heads_[task].output.borrow(rest.next(heads_[task].output));
  }
}

template <class S>
void TwoTaskModel<S>::apply_heads(const ConstMatrixView<S>& mixed, Workspace& ws) const {
  auto hidden = ws.hidden_.shape(heads_.front().hidden.output_dim(), mixed.cols());
  auto outputs = ws.outputs_.shape(1, mixed.cols());
  for (std::size_t task = 0; task < num_tasks; ++task) {
    heads_[task].hidden.predict(of_task(mixed, task), of_task(hidden, task),
                                ws.heads_[task].hidden);
    heads_[task].output.predict(of_task(hidden, task), of_task(outputs, task),
                                ws.heads_[task].output);
  }
}

template <class S>
void TwoTaskModel<S>::apply_heads_backward(Workspace& ws) const {
  const auto mixed = ws.mixed_.matrix();
  const auto hidden = ws.hidden_.matrix();
  auto dhidden = ws.dhidden_.shape(hidden.rows(), hidden.cols());
  auto dmixed = ws.dmixed_.shape(mixed.rows(), mixed.cols());
  dhidden.setZero();
  dmixed.setZero();
  for (std::size_t task = 0; task < num_tasks; ++task) {
    heads_[task].output.backward(of_task(hidden, task), of_task(ws.outputs_.matrix(), task),
                                 of_task(ws.doutputs_.matrix(), task), of_task(dhidden, task),
                                 ws.heads_[task].output);
    heads_[task].hidden.backward(of_task(mixed, task), of_task(hidden, task),
                                 of_task(dhidden, task), of_task(dmixed, task),
                                 ws.heads_[task].hidden);
  }
}

template <class S>
Loss TwoTaskModel<S>::evaluate_losses(const ConstMatrixView<S>& outputs,
                                      const ConstMatrixView<S>& watched,
                                      const ConstMatrixView<S>& rating, const TaskWeights& weights,
                                      MatrixView<S> gradient) {
  Loss loss;
  loss.watched = comet::binary_cross_entropy(of_task(outputs, 0), watched, of_task(gradient, 0));
  loss.rating =
      comet::mean_squared_error(of_task(outputs, 1), rating, watched, of_task(gradient, 1));
  loss.total = weights.watched * loss.watched + weights.rating * loss.rating;
  return loss;
}

/// The program's.
using Model = TwoTaskModel<float>;

}  // namespace programs::movielens
