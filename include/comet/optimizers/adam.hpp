// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// Settings of a Adam, with defaults where there is a sensible one.
struct AdamOptions {
  double learning_rate = 1e-3;  ///< > 0
  double beta1 = 0.9;           ///< decay of the mean gradient, in [0, 1)
  double beta2 = 0.999;         ///< decay of the mean squared gradient, in [0, 1)
  double epsilon = 1e-8;        ///< > 0, as a number of type S
  /// Leaves alone the columns (rows of an embedding) whose gradient is exactly 0. Much cheaper when
  /// a batch touches few of them, but not the same: their moments do not decay in between, and they
  /// stop where the dense form would coast on.
  bool lazy = false;
};

/// \brief Adam (Kingma and Ba, ICLR 2015, Algorithm 1).
///
///     m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
///     p -= rate * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)
///
/// step() applies the gradients and sets them to zero, in one pass over memory. State is kept by
/// the order in which the model visits its parameters, so a copied or moved model goes on.
///
/// \par Cost     7 memory accesses per parameter; threads share chunks of fixed size
/// \tparam S     float or double, the scalar of the model
template <class S>
class Adam {
 public:
  using Scalar = S;  ///< float or double.

  /// \param pool  not owned, may be null
  /// \throws std::invalid_argument if an option is outside its bounds
  explicit Adam(AdamOptions options = {}, ThreadPool* pool = nullptr)
      : options_(options), pool_(pool) {
    detail::check_positive("Adam", "learning_rate", options.learning_rate);
    detail::check_rate("Adam", "beta1", options.beta1);
    detail::check_rate("Adam", "beta2", options.beta2);
    // In S, where a small one may be 0 and make 0 / 0 of a gradient of 0.
    detail::check_positive("Adam", "epsilon", double(S(options.epsilon)));
  }

  /// The settings in use.
  [[nodiscard]] const AdamOptions& options() const noexcept { return options_; }
  /// Number of steps so far.
  [[nodiscard]] std::int64_t num_steps() const noexcept { return num_steps_; }

  /// \brief Changes the learning rate, for schedules.
  void set_learning_rate(double learning_rate) {
    detail::check_positive("Adam::set_learning_rate", "learning_rate", learning_rate);
    options_.learning_rate = learning_rate;
  }

  /// \brief One step: changes the model's parameters and sets its gradients to zero.
  /// \throws std::invalid_argument if the model's sizes changed since the first step
  /// \throws std::runtime_error naming the first tensor whose gradient, or its square, is not
  ///         finite; the parts of it that are not finite are not applied
  template <class Model>
  void step(Model& model) {
    prepare(model);
    ++num_steps_;
    const double correction1 = 1.0 - std::pow(options_.beta1, double(num_steps_));
    const double correction2 = 1.0 - std::pow(options_.beta2, double(num_steps_));
    rate_ = S(options_.learning_rate / correction1);
    scale_ = S(1.0 / std::sqrt(correction2));
    parallel_for(detail::worth_threads(pool_, double(mean_.size()) * 8), Index(chunks_.size()),
                 [&](Index i, Index) { update(chunks_[std::size_t(i)]); });
    for (const Chunk& chunk : chunks_)
      if (!chunk.finite) [[unlikely]]
        raise_not_finite(model, chunk.tensor);
  }

  /// \brief The moments and the step count, for checkpoints: f(name, values) per tensor of state.
  template <class F>
  void visit_state(F&& f) {
    f("mean", mean_);
    f("square", square_);
  }
  /// Sets the number of steps, when a checkpoint is resumed.
  void set_num_steps(std::int64_t num_steps) { num_steps_ = num_steps; }

 private:
  static constexpr Index chunk_size = 1 << 14;  // a task
  static constexpr Index block_size = 1 << 10;  // stays in the first-level cache between passes

  struct Chunk {
    S* values;
    S* gradients;
    Index state;  // offset into the moments
    Index size;
    Index column;  // length of a column, the unit of the lazy form
    Index tensor;
    bool finite;
  };

  /// Lists the model's tensors in chunks of whole columns where columns are short.
  template <class Model>
  void prepare(Model& model) {
    constexpr const char* where = "Adam::step";
    const bool first_step = sizes_.empty();
    chunks_.clear();
    Index total = 0;
    Index tensor = 0;
    model.visit_parameters([&](const ParameterName& name, auto& values, auto& gradients) {
      if (first_step) sizes_.push_back(values.size());
      if (tensor == Index(sizes_.size()) || sizes_[std::size_t(tensor)] != values.size())
          [[unlikely]]
        detail::raise(where, "the model's tensors have changed since the first step, from " +
                                 name.str() + " on");
      const Index column = std::max(Index(1), values.rows());
      const Index stride =
          options_.lazy ? std::max(Index(1), chunk_size / column) * column : chunk_size;
      for (Index first = 0; first < values.size(); first += stride)
        chunks_.push_back({values.data() + first, gradients.data() + first, total + first,
                           std::min(stride, values.size() - first), column, tensor, true});
      total += values.size();
      ++tensor;
    });
    detail::check_equal(where, "number of tensors", tensor, "that of the first step",
                        Index(sizes_.size()));
    mean_.resize(std::size_t(total), S(0));
    square_.resize(std::size_t(total), S(0));
  }

  void update(Chunk& chunk) {
    if (!options_.lazy) {
      for (Index first = 0; first < chunk.size; first += block_size)
        update(chunk, first, std::min(block_size, chunk.size - first));
      return;
    }
    for (Index first = 0; first < chunk.size; first += chunk.column) {
      const Index size = std::min(chunk.column, chunk.size - first);
      const S* g = chunk.gradients + first;
      if (std::any_of(g, g + size, [](S value) { return value != S(0); }))
        update(chunk, first, size);
    }
  }

  void update(Chunk& chunk, Index first, Index size) {
    using Array = Eigen::Map<Eigen::Array<S, Eigen::Dynamic, 1>>;
    Array p(chunk.values + first, size);
    Array g(chunk.gradients + first, size);
    Array m(mean_.data() + chunk.state + first, size);
    Array v(square_.data() + chunk.state + first, size);
    // Nor may the square overflow: an infinite v would never let the parameter move again.
    if ((g * g * S(0)).sum() != S(0)) [[unlikely]] {
      chunk.finite = false;
      return;
    }
    m = S(options_.beta1) * m + S(1 - options_.beta1) * g;
    v = S(options_.beta2) * v + S(1 - options_.beta2) * g * g;
    p -= rate_ * m / (v.sqrt() * scale_ + S(options_.epsilon));
    g.setZero();
  }

  template <class Model>
  [[noreturn, gnu::cold]] void raise_not_finite(Model& model, Index tensor) const {
    std::string name;
    model.visit_parameters([&](const ParameterName& n, auto&, auto&) {
      if (tensor-- == 0) name = n.str();
    });
    throw std::runtime_error("comet::Adam::step: the gradient of " + name +
                             " is not finite, or too large to be squared, at step " +
                             std::to_string(num_steps_));
  }

  AdamOptions options_;
  ThreadPool* pool_;
  std::int64_t num_steps_ = 0;
  std::vector<Index> sizes_;         // of the tensors, in visiting order
  detail::AlignedVector<S> mean_;    // of the gradients, tensors in visiting order
  detail::AlignedVector<S> square_;  // of their squares
  std::vector<Chunk> chunks_;
  S rate_ = 0;   // learning rate over the bias correction of the mean
  S scale_ = 0;  // bias correction of the square root
};

}  // namespace comet
