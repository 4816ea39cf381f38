// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/schedule.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/decay.hpp>
#include <comet/optimizers/detail/tensor_sizes.hpp>

namespace comet {

/// Settings of an Sgd.
struct SgdOptions {
  Schedule learning_rate = 1e-2;  ///< > 0: a number; or a schedule, whose value at t has step t
  double momentum = 0.0;          ///< decay of the velocity, in [0, 1); 0 keeps no state
};

/// \brief Stochastic gradient descent, with momentum if asked for (Polyak, 1964).
///
///     v = momentum v + g,   p -= rate v
///
/// step() applies the gradients and sets them to zero. State is kept by the order in which the
/// model visits its parameters, so a copied or moved model goes on. A velocity that has decayed to
/// almost nothing is set to 0, as Adam's moments are.
///
/// \par Cost     4 memory accesses per parameter, 6 with momentum
/// \tparam S     float or double, the scalar of the model
/// \see Adam
template <class S>
class Sgd {
 public:
  using Scalar = S;  ///< float or double.

  /// For an optimizer that is assigned later: it knows no model.
  Sgd() = default;
  /// \param model  whose parameters will be changed: another one of the same sizes will do, too
  /// \throws std::invalid_argument if an option is outside its bounds
  template <class Model>
  explicit Sgd(const Model& model, SgdOptions options = {})
      : options_(validated(std::move(options))), sizes_(model) {
    if (options_.momentum > 0) velocity_.assign(std::size_t(sizes_.total()), S(0));
  }

  /// The settings in use.
  [[nodiscard]] const SgdOptions& options() const noexcept { return options_; }
  /// Number of steps so far.
  [[nodiscard]] std::int64_t num_steps() const noexcept { return num_steps_; }

  /// \brief Changes the learning rate, to a constant.
  /// \throws std::invalid_argument if it is outside its bounds; the old one stays
  void set_learning_rate(double learning_rate) {
    constexpr const char* where = "Sgd::set_learning_rate";
    detail::check_positive(where, "learning_rate", learning_rate);
    detail::check_learning_rate<S>(where, learning_rate);
    options_.learning_rate = learning_rate;
  }

  /// \brief One step: changes the model's parameters and sets the gradients to zero.
  /// \param gradients  of the model: a GradientView, or a Gradients
  /// \throws std::invalid_argument if the model has other sizes than the one at construction, or
  ///         the gradients are of another model
  /// \throws NotFinite naming the first tensor whose gradient is not finite; it is not applied
  template <class Model>
  void step(Model& model, GradientView<S> gradients) {
    sizes_.validate("Sgd::step", model);
    gradients.validate("Sgd::step", model);
    const S rate = S(options_.learning_rate(Index(++num_steps_)));
    std::string not_finite;
    Index first = 0;
    Index tensor = 0;
    for_each_parameter(model, [&](const ParameterName& name, auto& values) {
      using Array = Eigen::Map<Eigen::Array<S, Eigen::Dynamic, 1>>;
      Array p(values.data(), values.size());
      Array g(gradients[tensor++].data(), values.size());
      const Index state = first;
      first += values.size();
      if (!detail::all_finite(g)) [[unlikely]] {
        if (not_finite.empty()) not_finite = name.str();
        return;
      }
      if (options_.momentum > 0) {
        Array v(velocity_.data() + state, values.size());
        v = S(options_.momentum) * v + g;
        if (detail::ends_decay(num_steps_))
          detail::clear_tiny(v.data(), v.size(), detail::end_of_decay<S>);
        p -= rate * v;
      } else {
        p -= rate * g;
      }
      g.setZero();
    });
    if (!not_finite.empty()) [[unlikely]]
      detail::raise_not_finite("Sgd::step", "the gradient of " + not_finite,
                               "is not finite at step " + std::to_string(num_steps_));
  }
  /// \brief The same by the gradients that are in a pass of the model.
  template <class Model>
  void step(Model& model, Pass<Model>& pass) {
    step(model, pass.gradients(model));
  }

  /// \brief The velocity, empty without momentum, and the number of steps. \see Stateful
  template <class F>
  void visit_state(F&& f) {
    f("velocity", std::span<S>(velocity_));
    f("steps", std::span<std::int64_t>(&num_steps_, 1));
  }
  /// \brief The velocity, empty without momentum, and the number of steps. \see Stateful
  template <class F>
  void visit_state(F&& f) const {
    f("velocity", std::span<const S>(velocity_));
    f("steps", std::span<const std::int64_t>(&num_steps_, 1));
  }
  /// \brief Takes over what was written through visit_state().
  /// \throws std::invalid_argument if it cannot be the state of an Sgd
  void restored() const {
    constexpr const char* where = "Sgd::restored";
    if (num_steps_ < 0) detail::raise(where, "steps", num_steps_, "at least 0");
    for (const S value : velocity_)
      if (!std::isfinite(value)) detail::raise(where, "a velocity", value, "a finite number");
  }

 private:
  static SgdOptions validated(SgdOptions options) {
    detail::check_learning_rate<S>("Sgd", options.learning_rate);
    detail::check_rate_as<S>("Sgd", "momentum", options.momentum);
    return options;
  }

  SgdOptions options_;
  detail::TensorSizes sizes_;
  AlignedVector<S> velocity_;  // tensors in visiting order; empty without momentum
  std::int64_t num_steps_ = 0;
};

template <class Model>
Sgd(const Model&, SgdOptions = {}) -> Sgd<typename Model::Scalar>;

}  // namespace comet
