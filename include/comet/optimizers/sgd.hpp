// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// Settings of a Sgd, with defaults where there is a sensible one.
struct SgdOptions {
  double learning_rate = 1e-2;  ///< > 0
  double momentum = 0.0;        ///< decay of the velocity, in [0, 1); 0 keeps no state
};

/// \brief Stochastic gradient descent, with momentum if asked for (Polyak, 1964).
///
///     v = momentum v + g,   p -= rate v
///
/// step() applies the gradients and sets them to zero. State is kept by the order in which the
/// model visits its parameters, so a copied or moved model goes on.
///
/// \par Cost     4 memory accesses per parameter, 6 with momentum
/// \tparam S     float or double, the scalar of the model
/// \see Adam
template <class S>
class Sgd {
 public:
  using Scalar = S;  ///< float or double.

  /// \throws std::invalid_argument if an option is outside its bounds
  explicit Sgd(SgdOptions options = {}) : options_(options) {
    detail::check_positive("Sgd", "learning_rate", options.learning_rate);
    detail::check_rate("Sgd", "momentum", options.momentum);
  }

  /// The settings in use.
  [[nodiscard]] const SgdOptions& options() const noexcept { return options_; }
  /// Number of steps so far.
  [[nodiscard]] std::int64_t num_steps() const noexcept { return num_steps_; }

  /// \brief Changes the learning rate, for schedules.
  void set_learning_rate(double learning_rate) {
    detail::check_positive("Sgd::set_learning_rate", "learning_rate", learning_rate);
    options_.learning_rate = learning_rate;
  }

  /// \brief One step: changes the model's parameters and sets its gradients to zero.
  /// \throws std::invalid_argument if the model's sizes changed since the first step
  /// \throws std::runtime_error naming the first tensor whose gradient is not finite; it is not
  ///         applied
  template <class Model>
  void step(Model& model) {
    prepare(model);
    ++num_steps_;
    std::string not_finite;
    Index first = 0;
    model.visit_parameters([&](const ParameterName& name, auto& values, auto& gradients) {
      using Array = Eigen::Map<Eigen::Array<S, Eigen::Dynamic, 1>>;
      Array p(values.data(), values.size());
      Array g(gradients.data(), gradients.size());
      const Index state = first;
      first += values.size();
      if ((g * S(0)).sum() != S(0)) [[unlikely]] {
        if (not_finite.empty()) not_finite = name.str();
        return;
      }
      if (options_.momentum > 0) {
        Array v(velocity_.data() + state, values.size());
        v = S(options_.momentum) * v + g;
        p -= S(options_.learning_rate) * v;
      } else {
        p -= S(options_.learning_rate) * g;
      }
      g.setZero();
    });
    if (!not_finite.empty()) [[unlikely]]
      throw std::runtime_error("comet::Sgd::step: the gradient of " + not_finite +
                               " is not finite at step " + std::to_string(num_steps_));
  }

  /// \brief The velocity, for checkpoints: f(name, values).
  template <class F>
  void visit_state(F&& f) {
    f("velocity", velocity_);
  }
  /// Sets the number of steps, when a checkpoint is resumed.
  void set_num_steps(std::int64_t num_steps) { num_steps_ = num_steps; }

 private:
  template <class Model>
  void prepare(Model& model) {
    const Index total = count_parameters(model);
    if (num_steps_ == 0) num_parameters_ = total;
    detail::check_equal("Sgd::step", "number of parameters", total, "that of the first step",
                        num_parameters_);
    if (options_.momentum > 0 && velocity_.empty()) velocity_.assign(std::size_t(total), S(0));
  }

  SgdOptions options_;
  std::int64_t num_steps_ = 0;
  Index num_parameters_ = 0;
  detail::AlignedVector<S> velocity_;  // tensors in visiting order
};

}  // namespace comet
