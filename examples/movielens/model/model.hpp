// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/experts/dense.hpp>
#include <comet/layers/dense.hpp>
#include <comet/layers/embedding.hpp>
#include <comet/losses/binary_cross_entropy.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/moe_layer.hpp>

#include <movielens/model/model_options.hpp>

namespace movielens {

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
/// \par Threads  predict() is const; one Workspace per thread
template <class Gate>
class TwoTaskModel {
 public:
  using GateType = Gate;
  using S = typename Gate::Scalar;
  using Mixture = comet::MoeLayer<Gate, comet::DenseExpert<S>>;
  class Workspace;

  static constexpr std::size_t num_tasks = 2;

  /// \param gates  one per task, for x of 2 * embedding_dim features
  TwoTaskModel(const ModelOptions& options, std::vector<Gate> gates, RandomKey key)
      : users_({.num_ids = options.num_users, .output_dim = options.embedding_dim}, key.fold(0)),
        items_({.num_ids = options.num_items, .output_dim = options.embedding_dim}, key.fold(1)),
        mixture_(std::move(gates), make_experts(options, key.fold(2))) {
    for (std::size_t task = 0; task < num_tasks; ++task)
      heads_.emplace_back(options, key.fold(3).fold(task));
  }

  [[nodiscard]] const Mixture& mixture() const noexcept { return mixture_; }
  [[nodiscard]] Mixture& mixture() noexcept { return mixture_; }

  /// \brief Logits of "watched" in the first B columns, ratings in the other B.
  /// \return 1 x 2B, valid until the workspace is used again
  ConstMatrixView<S> predict(std::span<const std::int32_t> users,
                             std::span<const std::int32_t> items, Workspace& workspace) const {
    embed(users, items, workspace);
    if constexpr (looks_at_features) {
      mixture_.predict(workspace.x(), workspace.mixed(), workspace.mixture_);
    } else {
      mixture_.predict(workspace.x(), items, workspace.mixed(), workspace.mixture_);
    }
    apply_heads(workspace);
    return workspace.outputs();
  }

  /// \brief Adds the gradients of the loss of a training batch and returns the loss.
  /// \param watched, rating  1 x B; the rating counts where watched is 1
  /// \param key              of this step: dropout and noise are drawn from it
  Loss accumulate_gradients(std::span<const std::int32_t> users,
                            std::span<const std::int32_t> items, ConstMatrixView<S> watched,
                            ConstMatrixView<S> rating, const TaskWeights& weights, RandomKey key,
                            Workspace& workspace) {
    embed(users, items, workspace);
    if constexpr (looks_at_features) {
      mixture_.forward(workspace.x(), workspace.mixed(), key, workspace.mixture_);
    } else {
      mixture_.forward(workspace.x(), items, workspace.mixed(), key, workspace.mixture_);
    }
    apply_heads(workspace);

    const Index samples = workspace.samples_;
    Loss loss = evaluate_losses(watched, rating, weights, workspace);
    loss.penalty = double(mixture_.regularization(workspace.mixture_));
    loss.total += loss.penalty;
    auto doutputs = workspace.doutputs();
    doutputs.leftCols(samples) *= S(weights.watched);
    doutputs.rightCols(samples) *= S(weights.rating);

    workspace.dx().setZero();
    apply_heads_backward(workspace);
    if constexpr (looks_at_features) {
      mixture_.backward(workspace.x(), workspace.dmixed(), workspace.dx(), workspace.mixture_);
    } else {
      Matrix<S> none;
      mixture_.backward(workspace.x(), items, workspace.dmixed(), workspace.dx(), none,
                        workspace.mixture_);
    }
    users_.backward(users, workspace.dx().topRows(users_.output_dim()));
    items_.backward(items, workspace.dx().bottomRows(items_.output_dim()));
    return loss;
  }

  /// What experts and gates see of some samples: 2 embedding_dim x B.
  [[nodiscard]] Matrix<S> features(std::span<const std::int32_t> users,
                                   std::span<const std::int32_t> items) const {
    Matrix<S> x(mixture_.input_dim(), Index(users.size()));
    users_.forward(users, x.topRows(users_.output_dim()));
    items_.forward(items, x.bottomRows(items_.output_dim()));
    return x;
  }

  /// The loss, without penalty, that the heads make of given mixtures (expert_dim x 2B).
  [[nodiscard]] double loss_of_mixtures(ConstMatrixView<S> mixtures, ConstMatrixView<S> watched,
                                        ConstMatrixView<S> rating, const TaskWeights& weights,
                                        Workspace& workspace) const {
    workspace.resize(*this, watched.cols());
    workspace.mixed() = mixtures;
    apply_heads(workspace);
    const Loss loss = evaluate_losses(watched, rating, weights, workspace);
    return loss.total;
  }

  template <class F>
  void visit_parameters(F&& f) {
    comet::visit_part("user_embedding", users_, f);
    comet::visit_part("item_embedding", items_, f);
    mixture_.visit_parameters(f);
    comet::visit_parts("heads", heads_, f);
  }

 private:
  /// Or at the movie's number, as a hash gate does.
  static constexpr bool looks_at_features = std::same_as<typename Gate::Input, ConstMatrixView<S>>;

  struct Head {
    comet::Dense<S> hidden;
    comet::Dense<S> output;

    Head(const ModelOptions& options, RandomKey key)
        : hidden({.input_dim = options.expert_dim,
                  .output_dim = options.head_dim,
                  .activation = comet::Activation::relu},
                 key.fold(0)),
          output({.input_dim = options.head_dim, .output_dim = 1}, key.fold(1)) {}

    template <class F>
    void visit_parameters(F&& f) {
      comet::visit_part("hidden", hidden, f);
      comet::visit_part("output", output, f);
    }
  };

  static std::vector<comet::DenseExpert<S>> make_experts(const ModelOptions& options,
                                                         RandomKey key) {
    std::vector<comet::DenseExpert<S>> experts;
    for (Index i = 0; i < options.num_experts; ++i)
      experts.emplace_back(comet::DenseExpertOptions{.input_dim = 2 * options.embedding_dim,
                                                     .output_dim = options.expert_dim,
                                                     .dropout = options.dropout},
                           key.fold(std::uint64_t(i)));
    return experts;
  }

  void embed(std::span<const std::int32_t> users, std::span<const std::int32_t> items,
             Workspace& workspace) const {
    workspace.resize(*this, Index(users.size()));
    users_.forward(users, workspace.x().topRows(users_.output_dim()));
    items_.forward(items, workspace.x().bottomRows(items_.output_dim()));
  }

  void apply_heads(Workspace& workspace) const {
    for (std::size_t task = 0; task < num_tasks; ++task) {
      const Index first = Index(task) * workspace.samples_;
      const auto columns = [&](auto&& matrix) {
        return matrix.middleCols(first, workspace.samples_);
      };
      const Head& head = heads_[task];
      head.hidden.forward(columns(workspace.mixed()), columns(workspace.hidden()),
                          workspace.head_[task]);
      head.output.forward(columns(workspace.hidden()), columns(workspace.outputs()),
                          workspace.head_[task]);
    }
  }

  /// The losses of the workspace's outputs, and their gradients.
  Loss evaluate_losses(ConstMatrixView<S> watched, ConstMatrixView<S> rating,
                       const TaskWeights& weights, Workspace& workspace) const {
    const Index samples = workspace.samples_;
    auto outputs = workspace.outputs();
    auto doutputs = workspace.doutputs();
    Loss loss;
    loss.watched = double(comet::binary_cross_entropy<S>(outputs.leftCols(samples), watched,
                                                         doutputs.leftCols(samples)));
    loss.rating = double(comet::mean_squared_error<S>(outputs.rightCols(samples), rating, watched,
                                                      doutputs.rightCols(samples)));
    loss.total = weights.watched * loss.watched + weights.rating * loss.rating;
    return loss;
  }

  void apply_heads_backward(Workspace& workspace) {
    workspace.dhidden().setZero();
    workspace.dmixed().setZero();
    for (std::size_t task = 0; task < num_tasks; ++task) {
      const Index first = Index(task) * workspace.samples_;
      const auto columns = [&](auto&& matrix) {
        return matrix.middleCols(first, workspace.samples_);
      };
      Head& head = heads_[task];
      head.output.backward(columns(workspace.hidden()), columns(workspace.outputs()),
                           columns(workspace.doutputs()), columns(workspace.dhidden()),
                           workspace.head_[task]);
      head.hidden.backward(columns(workspace.mixed()), columns(workspace.hidden()),
                           columns(workspace.dhidden()), columns(workspace.dmixed()),
                           workspace.head_[task]);
    }
  }

  comet::Embedding<S> users_;
  comet::Embedding<S> items_;
  Mixture mixture_;
  std::vector<Head> heads_;  // one per task
};

/// \brief Scratch of a TwoTaskModel; grows to the largest batch seen.
template <class Gate>
class TwoTaskModel<Gate>::Workspace {
 public:
  /// \param pool  not owned, may be null
  explicit Workspace(comet::ThreadPool* pool = nullptr)
      : mixture_(pool), head_(num_tasks, typename comet::Dense<S>::Workspace(pool)) {}

  /// Routings of the last batch.
  [[nodiscard]] const typename Mixture::Workspace& mixture() const noexcept { return mixture_; }

 private:
  friend class TwoTaskModel;

  void resize(const TwoTaskModel& model, Index samples) {
    samples_ = samples;
    if (samples <= x_.cols()) return;
    const Index features = model.mixture_.input_dim();
    const Index expert_dim = model.mixture_.output_dim();
    const Index head_dim = model.heads_.front().hidden.output_dim();
    x_.resize(features, samples);
    dx_.resize(features, samples);
    mixed_.resize(expert_dim, 2 * samples);
    dmixed_.resize(expert_dim, 2 * samples);
    hidden_.resize(head_dim, 2 * samples);
    dhidden_.resize(head_dim, 2 * samples);
    outputs_.resize(1, 2 * samples);
    doutputs_.resize(1, 2 * samples);
  }

  auto x() { return x_.leftCols(samples_); }
  auto dx() { return dx_.leftCols(samples_); }
  auto mixed() { return mixed_.leftCols(2 * samples_); }
  auto dmixed() { return dmixed_.leftCols(2 * samples_); }
  auto hidden() { return hidden_.leftCols(2 * samples_); }
  auto dhidden() { return dhidden_.leftCols(2 * samples_); }
  auto outputs() { return outputs_.leftCols(2 * samples_); }
  auto doutputs() { return doutputs_.leftCols(2 * samples_); }

  Index samples_ = 0;             // B of the current batch
  Matrix<S> x_, dx_;              // 2 embedding_dim x B
  Matrix<S> mixed_, dmixed_;      // expert_dim x 2B: task by task
  Matrix<S> hidden_, dhidden_;    // head_dim x 2B
  Matrix<S> outputs_, doutputs_;  // 1 x 2B
  typename Mixture::Workspace mixture_;
  std::vector<typename comet::Dense<S>::Workspace> head_;
};

}  // namespace movielens
