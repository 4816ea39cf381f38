// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/experts/dense.hpp>
#include <comet/layers/dense.hpp>
#include <comet/layers/embedding.hpp>
#include <comet/losses/binary_cross_entropy.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/moe_layer.hpp>

namespace comet::test {

struct TwoTaskSizes {
  Index num_users, num_items, embedding_dim, num_experts, expert_dim, head_dim;
  double dropout = 0;
};

/// \brief The two-task model of the paper, made of the library's parts: what a user's training
/// program looks like, at the size a test likes. Its gradients are here, too: the parts' passes add
/// to them.
template <class Gate>
class TwoTaskModel {
 public:
  using Scalar = typename Gate::Scalar;
  using S = Scalar;

  /// \param gates  two, on inputs of 2 * embedding_dim
  TwoTaskModel(const TwoTaskSizes& sizes, std::vector<Gate> gates, RandomKey key,
               ThreadPool* pool = nullptr)
      : users_({.num_ids = sizes.num_users, .output_dim = sizes.embedding_dim}, key.fold(0)),
        items_({.num_ids = sizes.num_items, .output_dim = sizes.embedding_dim}, key.fold(1)),
        mixture_(std::move(gates), experts(sizes, key.fold(2))) {
    for (std::uint64_t t = 0; t < 2; ++t) {
      hidden_.emplace_back(DenseOptions{sizes.expert_dim, sizes.head_dim, Activation::relu},
                           key.fold(3).fold(t));
      output_.emplace_back(DenseOptions{.input_dim = sizes.head_dim, .output_dim = 1},
                           key.fold(4).fold(t));
    }
    gradients_ = Gradients<S>(*this);
    GradientView<S> rest = gradients_.view();
    users_pass_ = Pass(users_, rest.next(users_), pool);
    items_pass_ = Pass(items_, rest.next(items_), pool);
    mixture_pass_ = Pass(mixture_, rest.next(mixture_), pool);
    for (const auto& layer : hidden_) hidden_passes_.emplace_back(layer, rest.next(layer), pool);
    for (const auto& layer : output_) output_passes_.emplace_back(layer, rest.next(layer), pool);
  }
  TwoTaskModel(const TwoTaskModel&) = delete;  // the passes know where the gradients are
  TwoTaskModel& operator=(const TwoTaskModel&) = delete;

  [[nodiscard]] GradientView<S> gradients() { return gradients_.view(); }

  /// The loss of a batch; adds its gradients. A rating of 0 is masked.
  S backward(std::span<const std::int32_t> user, std::span<const std::int32_t> item,
             const Matrix<S>& watched, const Matrix<S>& rating, S watch_weight, S rating_weight,
             RandomKey key) {
    const auto samples = Index(user.size());
    const Index e = users_.output_dim();
    x_.resize(2 * e, samples);
    users_.forward(user, x_.topRows(e));
    items_.forward(item, x_.bottomRows(e));
    mixed_.resize(mixture_.output_dim(), 2 * samples);
    mixture_.forward(x_, mixed_, key, mixture_pass_);
    S loss = mixture_.regularization(mixture_pass_);

    dmixed_.setZero(mixed_.rows(), mixed_.cols());
    observed_ = (rating.array() != S(0)).template cast<S>();
    for (std::size_t t = 0; t < 2; ++t) {
      const auto& hidden = hidden_[t];
      const auto& output = output_[t];
      const auto mixed = mixed_.middleCols(Index(t) * samples, samples);
      h_.resize(hidden.output_dim(), samples);
      y_.resize(1, samples);
      dy_.resize(1, samples);
      hidden.predict(mixed, h_, hidden_passes_[t]);
      output.predict(h_, y_, output_passes_[t]);
      const S weight = t == 0 ? watch_weight : rating_weight;
      loss += weight * S(t == 0 ? binary_cross_entropy(y_, watched, dy_)
                                : mean_squared_error(y_, rating, observed_, dy_));
      dy_ *= weight;
      dh_.setZero(h_.rows(), samples);
      output.backward(h_, y_, dy_, dh_, output_passes_[t]);
      hidden.backward(mixed, h_, dh_, dmixed_.middleCols(Index(t) * samples, samples),
                      hidden_passes_[t]);
    }
    dx_.setZero(x_.rows(), samples);
    mixture_.backward(x_, dmixed_, dx_, mixture_pass_);
    users_.backward(user, dx_.topRows(e), users_pass_);
    items_.backward(item, dx_.bottomRows(e), items_pass_);
    return loss;
  }

  template <class F>
  void visit(F&& f) const {
    f("users", users_);
    f("items", items_);
    f("mixture", mixture_);
    f("hidden", hidden_);
    f("output", output_);
  }

 private:
  static std::vector<DenseExpert<S>> experts(const TwoTaskSizes& sizes, RandomKey key) {
    return make_experts<DenseExpert<S>>(sizes.num_experts,
                                        {.input_dim = 2 * sizes.embedding_dim,
                                         .output_dim = sizes.expert_dim,
                                         .dropout = sizes.dropout},
                                        key);
  }

  using Mixture = MoeLayer<Gate, DenseExpert<S>>;

  Embedding<S> users_;
  Embedding<S> items_;
  Mixture mixture_;
  std::vector<Dense<S>> hidden_;
  std::vector<Dense<S>> output_;
  Gradients<S> gradients_;
  Pass<Embedding<S>> users_pass_;
  Pass<Embedding<S>> items_pass_;
  Pass<Mixture> mixture_pass_;
  std::vector<Pass<Dense<S>>> hidden_passes_;
  std::vector<Pass<Dense<S>>> output_passes_;
  Matrix<S> x_, dx_, mixed_, dmixed_, h_, dh_, y_, dy_, observed_;
};

}  // namespace comet::test
