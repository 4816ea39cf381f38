// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/experts/chain.hpp>
#include <comet/gates/any.hpp>
#include <comet/layers/convolution_2d.hpp>
#include <comet/layers/dense.hpp>
#include <comet/layers/max_pool_2d.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/losses/softmax_cross_entropy.hpp>
#include <comet/moe_layer.hpp>

#include <programs/base/piece.hpp>
#include <two_pictures/model/model_options.hpp>

namespace programs::two_pictures {

using comet::ConstMatrixView;
using comet::Matrix;
using comet::MatrixView;
using comet::RandomKey;

/// \brief The loss of a batch and what it is made of.
struct Loss {
  std::array<double, 2> cross_entropy = {};  ///< per task, in nats
  double penalty = 0;                        ///< of the gates
  double total = 0;                          ///< mean over the tasks, and the penalty
};

/// \brief Tells the classes of the pictures on a canvas: convolutional experts, one gate per task
/// (Ibrahim et al., COMET, KDD 2023, supplement).
///
///     expert: convolution 5 x 5, ReLU, max-pool 2, twice; dense ReLU, dense ReLU
///     task:   dense ReLU, dense ReLU, dense -> logits of the classes
///
/// Gates see the pixels of the canvas, and the number of its first picture. Every gate is wrapped
/// in a PermutedGate: without a search it keeps the identity, which costs a look-up per entry.
///
/// \par Threads  const while it runs; one Pass per thread
/// \tparam S     float or double
template <class S>
class PictureModel {
 public:
  using Scalar = S;
  using Gate = comet::PermutedGate<comet::AnyGate<S>>;
  using Expert = comet::Chain<comet::Convolution2d<S>, comet::MaxPool2d<S>, comet::Convolution2d<S>,
                              comet::MaxPool2d<S>, comet::Dense<S>, comet::Dense<S>>;
  using Mixture = comet::MoeLayer<Gate, Expert>;
  using Pass = comet::Pass<PictureModel>;
  class Workspace;

  /// \param gates  one per task, for x of height * width pixels
  PictureModel(const ModelOptions& options, std::vector<Gate> gates, RandomKey key)
      : mixture_(std::move(gates), comet::make_experts<Expert>(
                                       options.num_experts, expert_options(options), key.fold(0))) {
    for (std::size_t task = 0; task < mixture_.gates().size(); ++task)
      heads_.emplace_back(options, key.fold(1).fold(task));
  }

  [[nodiscard]] const Mixture& mixture() const noexcept { return mixture_; }
  /// One per task.
  [[nodiscard]] const std::vector<Gate>& gates() const noexcept { return mixture_.gates(); }
  [[nodiscard]] std::vector<Gate>& gates() noexcept { return mixture_.gates(); }
  [[nodiscard]] Index num_tasks() const noexcept { return Index(heads_.size()); }
  [[nodiscard]] Index num_classes() const noexcept { return heads_.front().output.output_dim(); }

  /// \brief Logits of the first task in the first B columns, then of the second.
  /// \param pixels   height width x B
  /// \param picture  B ids, for gates that look at one
  /// \return classes x (tasks B), valid until the pass is used again
  ConstMatrixView<S> predict(const ConstMatrixView<S>& pixels,
                             std::span<const std::int32_t> picture, Pass& pass) const;

  /// \brief Adds the gradients of the loss of a training batch to those of the pass and returns the
  /// loss.
  /// \param labels  tasks B, those of the first task first
  /// \param key     of this step: a gate's noise is drawn from it
  /// \param piece   that these are of the batch: the gradients are their part of the batch's, the
  ///                loss is their own
  /// \throws comet::NotFinite if it diverges
  Loss accumulate_gradients(const ConstMatrixView<S>& pixels, std::span<const std::int32_t> picture,
                            std::span<const std::int32_t> labels, RandomKey key, Pass& pass,
                            Piece piece = {}) const;

  /// The loss, without penalty, that the heads make of given mixtures (expert_dim x tasks B).
  [[nodiscard]] double loss_of_mixtures(const ConstMatrixView<S>& mixtures,
                                        std::span<const std::int32_t> labels, Pass& pass) const;

  template <class F>
  void visit(F&& f) const {
    mixture_.visit(f);
    f("heads", heads_);
  }

 private:
  struct Head {
    comet::Dense<S> first, second, output;

    Head(const ModelOptions& o, RandomKey key)
        : first(relu(o.expert_dim, o.head_dim), key.fold(0)),
          second(relu(o.head_dim, o.head_dim), key.fold(1)),
          output({.input_dim = o.head_dim, .output_dim = o.num_classes}, key.fold(2)) {}

    template <class F>
    void visit(F&& f) const {
      f("first", first);
      f("second", second);
      f("output", output);
    }
  };

  static comet::DenseOptions relu(Index inputs, Index outputs) {
    return {.input_dim = inputs, .output_dim = outputs, .activation = comet::Activation::relu};
  }
  [[nodiscard]] static typename Expert::Options expert_options(const ModelOptions& options);

  /// The columns of a task.
  template <class M>
  [[nodiscard]] auto of_task(M&& matrix, std::size_t task) const {
    const Index samples = matrix.cols() / num_tasks();
    return matrix.middleCols(Index(task) * samples, samples);
  }

  [[nodiscard]] Workspace& start(Pass& pass) const;
  /// Where the parts add their gradients.
  void share_gradients(Pass& pass) const;
  void apply_heads(const ConstMatrixView<S>& mixed, Workspace& ws) const;
  void apply_heads_backward(Workspace& ws) const;
  /// Of the logits. \param gradient  of theirs, or no_gradient
  [[nodiscard]] Loss evaluate_losses(const ConstMatrixView<S>& logits,
                                     std::span<const std::int32_t> labels,
                                     MatrixView<S> gradient) const;

  Mixture mixture_;
  std::vector<Head> heads_;  // one per task
};

/// \brief Scratch of a PictureModel; grows to the largest batch seen.
template <class S>
class PictureModel<S>::Workspace {
 public:
  /// Routings of the last batch, and the passes of the gates.
  [[nodiscard]] const typename Mixture::Workspace& mixture() const noexcept {
    return mixture_.workspace;
  }

 private:
  friend class PictureModel;

  struct HeadPass {
    comet::Pass<comet::Dense<S>> first, second, output;
  };

  comet::Buffer<S> mixed_, dmixed_;    // expert_dim x tasks B: task by task
  comet::Buffer<S> first_, dfirst_;    // head_dim x tasks B
  comet::Buffer<S> second_, dsecond_;  // head_dim x tasks B
  comet::Buffer<S> logits_, dlogits_;  // classes x tasks B
  comet::Pass<Mixture> mixture_;
  std::vector<HeadPass> heads_;
};

template <class S>
typename PictureModel<S>::Expert::Options PictureModel<S>::expert_options(const ModelOptions& o) {
  constexpr Index window = 2;  // of the pools
  const auto convolution = [&](Index height, Index width, Index channels, Index filters) {
    return comet::Convolution2dOptions{.height = height,
                                       .width = width,
                                       .channels = channels,
                                       .filters = filters,
                                       .kernel_height = o.kernel,
                                       .kernel_width = o.kernel,
                                       .activation = comet::Activation::relu};
  };
  const auto pool = [&](Index height, Index width, Index channels) {
    return comet::MaxPool2dOptions{.height = height, .width = width, .channels = channels};
  };
  const Index edge = o.kernel - 1;
  const Index height1 = o.height - edge, width1 = o.width - edge;
  const Index height2 = height1 / window - edge, width2 = width1 / window - edge;
  const Index flat = (height2 / window) * (width2 / window) * o.second_filters;
  return {convolution(o.height, o.width, 1, o.filters),
          pool(height1, width1, o.filters),
          convolution(height1 / window, width1 / window, o.filters, o.second_filters),
          pool(height2, width2, o.second_filters),
          relu(flat, o.expert_dim),
          relu(o.expert_dim, o.expert_dim)};
}

template <class S>
typename PictureModel<S>::Workspace& PictureModel<S>::start(Pass& pass) const {
  Workspace& ws = pass.workspace;
  if (ws.heads_.size() != heads_.size())
    ws.heads_ = std::vector<typename Workspace::HeadPass>(heads_.size());
  ws.mixture_.run_in(pass);
  for (auto& head : ws.heads_) head.first.pool = head.second.pool = head.output.pool = pass.pool;
  return ws;
}

template <class S>
ConstMatrixView<S> PictureModel<S>::predict(const ConstMatrixView<S>& pixels,
                                            std::span<const std::int32_t> picture,
                                            Pass& pass) const {
  Workspace& ws = start(pass);
  auto mixed = ws.mixed_.shape(mixture_.output_dim(), num_tasks() * pixels.cols());
  mixture_.predict(comet::Samples<S>(pixels, picture), mixed, ws.mixture_);
  apply_heads(mixed, ws);
  return ws.logits_.matrix();
}

template <class S>
Loss PictureModel<S>::accumulate_gradients(const ConstMatrixView<S>& pixels,
                                           std::span<const std::int32_t> picture,
                                           std::span<const std::int32_t> labels, RandomKey key,
                                           Pass& pass, Piece piece) const {
  Workspace& ws = start(pass);
  comet::Samples<S> samples(pixels, picture);
  samples.first = piece.first;
  auto mixed = ws.mixed_.shape(mixture_.output_dim(), num_tasks() * samples.size());
  mixture_.forward(samples, mixed, key, ws.mixture_);
  apply_heads(mixed, ws);

  auto dlogits = ws.dlogits_.shape(num_classes(), mixed.cols());
  Loss loss = evaluate_losses(ws.logits_.matrix(), labels, dlogits);
  loss.penalty = double(mixture_.regularization(ws.mixture_));
  loss.total += loss.penalty;
  dlogits *= S(piece.share);
  dlogits /= S(num_tasks());

  share_gradients(pass);
  apply_heads_backward(ws);
  // Nobody asks for the gradient by the pixels.
  mixture_.backward(samples, ws.dmixed_.matrix(), comet::no_gradient, ws.mixture_);
  return loss;
}

template <class S>
double PictureModel<S>::loss_of_mixtures(const ConstMatrixView<S>& mixtures,
                                         std::span<const std::int32_t> labels, Pass& pass) const {
  Workspace& ws = start(pass);
  apply_heads(mixtures, ws);
  return evaluate_losses(ws.logits_.matrix(), labels, comet::no_gradient).total;
}

template <class S>
void PictureModel<S>::share_gradients(Pass& pass) const {
  Workspace& ws = pass.workspace;
  comet::GradientView<S> rest = pass.gradients(*this);
  ws.mixture_.borrow(rest.next(mixture_));
  for (std::size_t task = 0; task < heads_.size(); ++task) {
    ws.heads_[task].first.borrow(rest.next(heads_[task].first));
    ws.heads_[task].second.borrow(rest.next(heads_[task].second));
    ws.heads_[task].output.borrow(rest.next(heads_[task].output));
  }
}

template <class S>
void PictureModel<S>::apply_heads(const ConstMatrixView<S>& mixed, Workspace& ws) const {
  auto first = ws.first_.shape(heads_.front().first.output_dim(), mixed.cols());
  auto second = ws.second_.shape(first.rows(), mixed.cols());
  auto logits = ws.logits_.shape(num_classes(), mixed.cols());
  for (std::size_t task = 0; task < heads_.size(); ++task) {
    auto& pass = ws.heads_[task];
    heads_[task].first.predict(of_task(mixed, task), of_task(first, task), pass.first);
    heads_[task].second.predict(of_task(first, task), of_task(second, task), pass.second);
    heads_[task].output.predict(of_task(second, task), of_task(logits, task), pass.output);
  }
}

template <class S>
void PictureModel<S>::apply_heads_backward(Workspace& ws) const {
  const auto mixed = ws.mixed_.matrix(), first = ws.first_.matrix(), second = ws.second_.matrix();
  auto dmixed = ws.dmixed_.shape(mixed.rows(), mixed.cols());
  auto dfirst = ws.dfirst_.shape(first.rows(), first.cols());
  auto dsecond = ws.dsecond_.shape(second.rows(), second.cols());
  dmixed.setZero(), dfirst.setZero(), dsecond.setZero();
  for (std::size_t task = 0; task < heads_.size(); ++task) {
    auto& pass = ws.heads_[task];
    heads_[task].output.backward(of_task(second, task), of_task(ws.logits_.matrix(), task),
                                 of_task(ws.dlogits_.matrix(), task), of_task(dsecond, task),
                                 pass.output);
    heads_[task].second.backward(of_task(first, task), of_task(second, task),
                                 of_task(dsecond, task), of_task(dfirst, task), pass.second);
    heads_[task].first.backward(of_task(mixed, task), of_task(first, task), of_task(dfirst, task),
                                of_task(dmixed, task), pass.first);
  }
}

template <class S>
Loss PictureModel<S>::evaluate_losses(const ConstMatrixView<S>& logits,
                                      std::span<const std::int32_t> labels,
                                      MatrixView<S> gradient) const {
  Loss loss;
  const std::size_t samples = labels.size() / heads_.size();
  for (std::size_t task = 0; task < heads_.size(); ++task) {
    loss.cross_entropy[task] = comet::softmax_cross_entropy(
        of_task(logits, task), labels.subspan(task * samples, samples),
        gradient.size() > 0 ? MatrixView<S>(of_task(gradient, task)) : comet::no_gradient);
    loss.total += loss.cross_entropy[task] / double(heads_.size());
  }
  return loss;
}

/// The program's.
using Model = PictureModel<float>;

}  // namespace programs::two_pictures
