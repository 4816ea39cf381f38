// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <utility>

#include <comet/core/concepts.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/types.hpp>

namespace comet::test {

/// \brief How often each (expert, sample) pair was evaluated.
struct Evaluations {
  using Count = std::map<std::pair<Index, Index>, int>;

  void add(Count& count, Index expert, Index sample) {
    const std::lock_guard lock(mutex);
    ++count[{expert, sample}];
  }

  std::mutex mutex;
  Count forward;
  Count backward;
};

/// \brief An expert as a user would write it, y = scale * x with one backward pass over all of its
/// samples. It tells which samples it saw by their first feature, which has to be sample + 1;
/// padding has 0.
template <class S>
class CountingExpert {
 public:
  using Scalar = S;

  CountingExpert(Index dim, Index number, std::shared_ptr<Evaluations> evaluations)
      : number_(number), scale_(dim, 1), evaluations_(std::move(evaluations)) {
    scale_.setConstant(S(number + 1));
  }

  [[nodiscard]] Index input_dim() const { return scale_.rows(); }
  [[nodiscard]] Index output_dim() const { return scale_.rows(); }
  [[nodiscard]] Index cache_dim() const { return 1; }
  [[nodiscard]] double cost() const { return double(input_dim()); }

  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache) const {
    for (Index c = 0; c < x.cols(); ++c) {
      y.col(c) = x.col(c).cwiseProduct(scale_.col(0));
      cache(0, c) = x(0, c);
      if (x(0, c) != S(0)) evaluations_->add(evaluations_->forward, number_, Index(x(0, c)) - 1);
    }
  }

  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache,
               const TrainingTile& tile) const {
    predict(x, y, cache);
    for (std::size_t c = 0; c < tile.samples.size(); ++c)
      if (x(0, Index(c)) != S(tile.samples[c] + 1)) throw std::logic_error("tile.samples is wrong");
  }

  void backward(const ConstMatrixView<S>& x, const ConstMatrixView<S>& y, MatrixView<S> cache,
                MatrixView<S> dy, MatrixView<S> dx, GradientView<S> gradients) const {
    for (Index c = 0; c < x.cols(); ++c) {
      if (cache(0, c) != x(0, c) || y(0, c) != x(0, c) * scale_(0, 0))
        throw std::logic_error("cache, y and x belong to different samples");
      evaluations_->add(evaluations_->backward, number_, Index(x(0, c)) - 1);
      gradients[0].col(0) += x.col(c).cwiseProduct(dy.col(c));
      if (dx.size() > 0) dx.col(c) += dy.col(c).cwiseProduct(scale_.col(0));
    }
  }

  template <class F>
  void visit(F&& f) const {
    f("scale", scale_);
  }

 private:
  Index number_;
  Parameter<S> scale_;  // d x 1
  std::shared_ptr<Evaluations> evaluations_;
};

}  // namespace comet::test
