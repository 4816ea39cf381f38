// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>

namespace comet {

/// Settings of a SparsityController.
struct SparsityControllerOptions {
  double k = 0;              ///< experts per sample to come to, >= 1
  Index sparse_by = 0;       ///< step at which it is to be there, >= 1
  double gamma = 1.0;        ///< > 0: width of the smooth-step at the start, and at most
  double entropy = 1e-3;     ///< > 0: strength of the entropy penalty at the start, and at least
  double max_entropy = 0.1;  ///< >= entropy: what that may grow to
  double tolerance = 0.05;   ///< share of k, > 0: as near as this is there
};

/// \brief Makes a gate sparse by a step that is named: narrows the smooth-step and strengthens the
/// entropy penalty for as long as rows are longer than they should be by then, and gives way where
/// they are shorter.
///
/// Legend: e is the mean number of experts per sample, smoothed over the last steps; e_0 the first
/// one, at least k; t the step over 0.7 sparse_by, at most 1.
///
///     rows should have  e* = e_0^(1-t) k^t  experts, and are off by  d = log(e / e*)
///     log gamma -= c d,  log entropy += c d,  c = min(1/2, 80 / sparse_by)
///
/// where d is 0 within a quarter of the tolerance and at most 1, gamma does not exceed the one at
/// the start and entropy stays between its bounds. The path is straight in the logarithm: each step
/// is to part with the same share of the experts. The rest of the time is there to settle;
/// afterwards it goes on holding k.
///
/// Entropy alone cannot be relied on, since a task may pull harder; gamma can: the narrower the
/// smooth-step, the more splits have decided, whatever their logits. Fewer experts may cost loss:
/// the controller looks at their number alone.
///
/// \code
///   SparsityController controller({.k = 2, .sparse_by = 2000});
///   for (Index step = 0; step < 10'000; ++step) {
///     ...                                                // forward, loss, backward, optimizer
///     const auto used = summarize(pass.workspace.routing(), n);
///     controller.end_of_step(layer.gates()[0], used.experts_per_sample);
///   }
/// \endcode
///
/// One for each gate. State can be saved with the rest: a training that is resumed goes on as it
/// would have.
///
/// \par Cost     a few operations a step; allocates nothing
/// \see Schedule, which does not look
/// \see docs/math.md, equations (34)-(35)
class SparsityController {
 public:
  /// \throws std::invalid_argument if an option is outside its bounds
  explicit SparsityController(SparsityControllerOptions options)
      : options_(options), state_{options.gamma, options.entropy, 0, 0} {
    constexpr const char* where = "SparsityController";
    detail::check_positive(where, "k", options.k);
    if (options.k < 1) detail::raise(where, "k", options.k, "at least 1");
    detail::check_at_least(where, "sparse_by", options.sparse_by, 1);
    detail::check_positive(where, "gamma", options.gamma);
    detail::check_positive(where, "entropy", options.entropy);
    detail::check_positive(where, "max_entropy", options.max_entropy);
    if (options.max_entropy < options.entropy)
      detail::raise(where, "max_entropy", options.max_entropy, "at least entropy");
    detail::check_positive(where, "tolerance", options.tolerance);
  }

  /// \brief Takes a step's mean number of experts per sample into account, and anneals the gate.
  /// \throws std::invalid_argument if the number is not > 0, or by a gate chosen at run time that
  ///         has nothing to anneal
  template <AnnealableGate G>
  void end_of_step(G& gate, double experts_per_sample) {
    see(experts_per_sample);
    comet::anneal(gate, settings());
  }

  /// \brief The same without a gate: settings() is for the next step, of a gate that is elsewhere.
  void see(double experts_per_sample) {
    detail::check_positive("SparsityController::see", "experts_per_sample", experts_per_sample);
    const double before = num_steps_ == 0 ? experts_per_sample : smoothed();
    const double rate = std::min(1.0, smoothing / double(options_.sparse_by));
    if (num_steps_ == 0) state_[2] = std::max(experts_per_sample, options_.k);
    state_[3] = before + rate * (experts_per_sample - before);
    ++num_steps_;
    const double off = std::log(smoothed() / target());
    if (std::abs(off) <= std::log1p(options_.tolerance / 4)) return;
    const double step =
        std::min(0.5, stiffness / double(options_.sparse_by)) * std::clamp(off, -1.0, 1.0);
    state_[0] = std::clamp(gamma() * std::exp(-step), options_.gamma * 1e-9, options_.gamma);
    state_[1] = std::clamp(entropy() * std::exp(step), options_.entropy, options_.max_entropy);
  }

  /// What the next step is to be done with.
  [[nodiscard]] GateAnnealing settings() const { return {.gamma = gamma(), .entropy = entropy()}; }
  /// Width of the smooth-step now.
  [[nodiscard]] double gamma() const noexcept { return state_[0]; }
  /// Strength of the entropy penalty now.
  [[nodiscard]] double entropy() const noexcept { return state_[1]; }
  /// Experts per sample of late; 0 before the first step.
  [[nodiscard]] double smoothed() const noexcept { return state_[3]; }
  /// Experts per sample that there should be now: e* above.
  [[nodiscard]] double target() const {
    const double t = std::min(1.0, double(num_steps_) / (0.7 * double(options_.sparse_by)));
    return std::pow(state_[2], 1 - t) * std::pow(options_.k, t);
  }
  /// How many steps it has seen.
  [[nodiscard]] std::int64_t num_steps() const noexcept { return num_steps_; }
  /// The settings of the constructor.
  [[nodiscard]] const SparsityControllerOptions& options() const noexcept { return options_; }

  /// \brief What it has seen and where it is. \see Stateful
  template <class F>
  void visit_state(F&& f) {
    f("control", std::span<double>(state_));
    f("steps", std::span<std::int64_t>(&num_steps_, 1));
  }
  /// \brief What it has seen and where it is. \see Stateful
  template <class F>
  void visit_state(F&& f) const {
    f("control", std::span<const double>(state_));
    f("steps", std::span<const std::int64_t>(&num_steps_, 1));
  }
  /// \brief Takes over what was written through visit_state().
  /// \throws std::invalid_argument if it cannot be the state of a SparsityController
  void restored() const {
    constexpr const char* where = "SparsityController::restored";
    if (num_steps_ < 0) detail::raise(where, "steps", num_steps_, "at least 0");
    detail::check_positive(where, "gamma", gamma());
    detail::check_positive(where, "entropy", entropy());
    detail::check_not_negative(where, "the first experts per sample", state_[2]);
    detail::check_not_negative(where, "experts per sample", state_[3]);
    if (num_steps_ > 0 && !(state_[2] > 0 && state_[3] > 0))
      detail::raise(where, "experts per sample", state_[3], "a number > 0 after a step");
  }

 private:
  static constexpr double smoothing = 50;  // the mean looks back on sparse_by / 50 steps
  static constexpr double stiffness = 80;  // an error is made up for within sparse_by / 40 steps

  SparsityControllerOptions options_;
  std::array<double, 4> state_;  // gamma, entropy, e_0, e
  std::int64_t num_steps_ = 0;
};

}  // namespace comet
