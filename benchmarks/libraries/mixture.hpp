// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include <comet/core/routing.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>

#include <libraries/product_library.hpp>

namespace bench {

/// \brief The mixture of dense experts with ReLU for a routing given once, on somebody's products:
/// everything around them as well as one would write it, experts spread over threads.
///
/// Samples are gathered per expert and mixed per sample, so nothing is added twice at a time.
class LibraryMixture {
 public:
  /// \param weights  d x m each
  LibraryMixture(ProductLibrary& library, const std::vector<Matrix>& weights,
                 const comet::Routing<float>& routing)
      : library_(library),
        d_(weights.front().rows()),
        m_(weights.front().cols()),
        batch_(routing.num_samples()),
        experts_(weights.size()),
        pairs_(std::size_t(batch_)) {
    for (Index b = 0; b < batch_; ++b)
      for (std::size_t slot = 0; slot < routing.experts(b).size(); ++slot) {
        Expert& expert = experts_[std::size_t(routing.experts(b)[slot])];
        pairs_[std::size_t(b)].push_back({std::size_t(routing.experts(b)[slot]),
                                          Index(expert.samples.size()), routing.weights(b)[slot]});
        expert.samples.push_back(b);
        expert.gates.push_back(routing.weights(b)[slot]);
      }
    library_.set_weights(weights);
    for (Expert& expert : experts_) {
      library_.prepare(Index(expert.samples.size()));
      expert.fit(d_, m_);
    }
    order_.resize(experts_.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
      return experts_[a].samples.size() > experts_[b].samples.size();
    });
  }

  /// y = the mixture of x. \param x  d x B \param y  m x B
  void forward(const Matrix& x, Matrix& y, comet::ThreadPool& pool) {
    for_each_expert(pool, [&](std::size_t number, Expert& expert) {
      for (std::size_t i = 0; i < expert.samples.size(); ++i)
        expert.x.col(Index(i)) = x.col(expert.samples[i]);
      library_.forward(number, expert.x.cols(), expert.x.data(), expert.y.data());
      for (Index c = 0; c < expert.y.cols(); ++c)
        expert.y.col(c) = (expert.y.col(c) + expert.bias).cwiseMax(0.0F);
    });
    for_each_sample(pool, [&](Index b) {
      y.col(b).setZero();
      for (const Pair& pair : pairs_[std::size_t(b)])
        y.col(b) += pair.gate * experts_[pair.expert].y.col(pair.column);
    });
  }

  /// After forward(): adds the gradients of dy . y to those of the experts, those by the gate's
  /// weights are kept beside them.
  /// \param dx  d x B, overwritten
  void backward(const Matrix& dy, Matrix& dx, comet::ThreadPool& pool) {
    for_each_expert(pool, [&](std::size_t number, Expert& expert) {
      for (std::size_t i = 0; i < expert.samples.size(); ++i) {
        const auto from = dy.col(expert.samples[i]);
        const auto y = expert.y.col(Index(i));
        expert.dgates[Index(i)] = from.dot(y);
        expert.dz.col(Index(i)) = (y.array() > 0.0F).select(from * expert.gates[i], 0.0F);
        expert.dbias += expert.dz.col(Index(i));
      }
      library_.input_gradient(number, expert.x.cols(), expert.dz.data(), expert.dx.data());
      library_.weight_gradient(expert.x.cols(), expert.x.data(), expert.dz.data(),
                               expert.dweight.data());
    });
    for_each_sample(pool, [&](Index b) {
      dx.col(b).setZero();
      for (const Pair& pair : pairs_[std::size_t(b)])
        dx.col(b) += experts_[pair.expert].dx.col(pair.column);
    });
  }

  /// Gradients by an expert's weights, d x m.
  [[nodiscard]] const Matrix& weight_gradient(std::size_t expert) const {
    return experts_[expert].dweight;
  }

 private:
  struct Pair {
    std::size_t expert;
    Index column;  // of the expert's
    float gate;
  };
  struct Expert {
    std::vector<Index> samples;
    std::vector<float> gates;
    Matrix x, y, dz, dx, dweight;
    Eigen::VectorXf bias, dbias, dgates;

    void fit(Index d, Index m) {
      const Index columns = Index(samples.size());
      for (Matrix* matrix : {&x, &dx}) matrix->setZero(d, columns);
      for (Matrix* matrix : {&y, &dz}) matrix->setZero(m, columns);
      dweight.setZero(d, m);
      for (auto* vector : {&bias, &dbias}) vector->setZero(m);
      dgates.setZero(columns);
    }
  };

  template <class F>
  void for_each_expert(comet::ThreadPool& pool, F&& f) {
    pool.run(Index(order_.size()), [&](Index i, Index) {
      Expert& expert = experts_[order_[std::size_t(i)]];
      if (!expert.samples.empty()) f(order_[std::size_t(i)], expert);
    });
  }
  template <class F>
  void for_each_sample(comet::ThreadPool& pool, F&& f) {
    const Index parts = pool.num_threads();
    pool.run(parts, [&](Index part, Index) {
      for (Index b = batch_ * part / parts; b < batch_ * (part + 1) / parts; ++b) f(b);
    });
  }

  ProductLibrary& library_;
  Index d_, m_, batch_;
  std::vector<Expert> experts_;
  std::vector<std::vector<Pair>> pairs_;  // per sample
  std::vector<std::size_t> order_;        // of experts, those with most samples first
};

}  // namespace bench
