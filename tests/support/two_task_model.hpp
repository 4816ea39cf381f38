// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
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
/// program looks like, at the size a test likes.
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
        mixture_(std::move(gates), experts(sizes, key.fold(2))),
        mixture_workspace_(pool),
        dense_workspace_(pool) {
    for (std::uint64_t t = 0; t < 2; ++t) {
      hidden_.emplace_back(DenseOptions{sizes.expert_dim, sizes.head_dim, Activation::relu},
                           key.fold(3).fold(t));
      output_.emplace_back(DenseOptions{.input_dim = sizes.head_dim, .output_dim = 1},
                           key.fold(4).fold(t));
    }
  }

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
    mixture_.forward(x_, mixed_, key, mixture_workspace_);
    S loss = mixture_.regularization(mixture_workspace_);

    dmixed_.setZero(mixed_.rows(), mixed_.cols());
    observed_ = (rating.array() != S(0)).template cast<S>();
    for (Index t = 0; t < 2; ++t) {
      auto& hidden = hidden_[std::size_t(t)];
      auto& output = output_[std::size_t(t)];
      const auto mixed = mixed_.middleCols(t * samples, samples);
      h_.resize(hidden.output_dim(), samples);
      y_.resize(1, samples);
      dy_.resize(1, samples);
      hidden.forward(mixed, h_, dense_workspace_);
      output.forward(h_, y_, dense_workspace_);
      const S weight = t == 0 ? watch_weight : rating_weight;
      loss += weight * (t == 0 ? binary_cross_entropy<S>(y_, watched, dy_)
                               : mean_squared_error<S>(y_, rating, observed_, dy_));
      dy_ *= weight;
      dh_.setZero(h_.rows(), samples);
      output.backward(h_, y_, dy_, dh_, dense_workspace_);
      hidden.backward(mixed, h_, dh_, dmixed_.middleCols(t * samples, samples), dense_workspace_);
    }
    dx_.setZero(x_.rows(), samples);
    mixture_.backward(x_, dmixed_, dx_, mixture_workspace_);
    users_.backward(user, dx_.topRows(e));
    items_.backward(item, dx_.bottomRows(e));
    return loss;
  }

  template <class F>
  void visit_parameters(F&& f) {
    visit_part("users", users_, f);
    visit_part("items", items_, f);
    visit_part("mixture", mixture_, f);
    visit_parts("hidden", hidden_, f);
    visit_parts("output", output_, f);
  }

 private:
  static std::vector<DenseExpert<S>> experts(const TwoTaskSizes& sizes, RandomKey key) {
    std::vector<DenseExpert<S>> experts;
    for (Index i = 0; i < sizes.num_experts; ++i)
      experts.emplace_back(DenseExpertOptions{.input_dim = 2 * sizes.embedding_dim,
                                              .output_dim = sizes.expert_dim,
                                              .dropout = sizes.dropout},
                           key.fold(std::uint64_t(i)));
    return experts;
  }

  using Mixture = MoeLayer<Gate, DenseExpert<S>>;

  Embedding<S> users_;
  Embedding<S> items_;
  Mixture mixture_;
  std::vector<Dense<S>> hidden_;
  std::vector<Dense<S>> output_;
  typename Mixture::Workspace mixture_workspace_;
  typename Dense<S>::Workspace dense_workspace_;
  Matrix<S> x_, dx_, mixed_, dmixed_, h_, dh_, y_, dy_, observed_;
};

}  // namespace comet::test
