// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// Settings of an EarlyStopping.
struct EarlyStoppingOptions {
  Index patience = 5;          ///< >= 1: losses in a row that are no better than the best
  double min_improvement = 0;  ///< >= 0: what a loss has to be below the best by to be better
};

/// \brief Keeps the weights with the least loss, and says when there has been none for too long
/// (Prechelt, "Early stopping - but when?", 1998).
///
/// \code
///   EarlyStopping best(model, {.patience = 5});
///   while (!best.reached()) {
///     train_an_epoch(model);
///     best.see(validation_loss(model), model);
///   }
///   best.restore(model);
/// \endcode
///
/// Weights are kept by the order in which the model visits its parameters, and can be saved with
/// the rest: a training that is resumed stops where it would have stopped.
///
/// \par Cost     a copy of the parameters for every loss that is better; allocates nothing
/// \tparam S     float or double, the scalar of the model
template <class S>
class EarlyStopping {
 public:
  using Scalar = S;  ///< float or double.

  /// \param model  whose weights will be kept: another one of the same sizes will do, too
  /// \throws std::invalid_argument if an option is outside its bounds
  template <class Model>
  explicit EarlyStopping(const Model& model, EarlyStoppingOptions options = {})
      : options_(options), weights_(std::size_t(count_parameters(model)), S(0)) {
    detail::check_model<Model>();
    detail::check_at_least("EarlyStopping", "patience", options.patience, 1);
    detail::check_not_negative("EarlyStopping", "min_improvement", options.min_improvement);
  }

  /// \brief Takes a loss into account, and the weights if it is the best so far.
  /// \return whether it is
  /// \throws std::invalid_argument if the model has another size than the one at construction
  /// \throws NotFinite if the loss is nan or infinite, or naming a weight that is and would be kept
  template <class Model>
  bool see(double loss, const Model& model) {
    constexpr const char* where = "EarlyStopping::see";
    check_size(where, model);
    if (!std::isfinite(loss)) [[unlikely]]
      detail::raise_not_finite(where, "the loss", "is not finite");
    const bool is_best = counts_[0] == 0 || loss < best_ - options_.min_improvement;
    if (is_best)
      for_each_parameter(model, [&](const ParameterName& name, const auto& values) {
        detail::check_finite<S>(where, name.str(), values);
      });
    ++counts_[0];
    ++counts_[1];
    if (!is_best) return false;
    best_ = loss;
    counts_[1] = 0;
    S* next = weights_.data();
    for_each_parameter(model, [&](const ParameterName&, const auto& values) {
      next = std::copy_n(values.data(), values.size(), next);
    });
    return true;
  }

  /// Whether `patience` losses in a row were no better.
  [[nodiscard]] bool reached() const noexcept { return counts_[1] >= options_.patience; }
  /// The least loss; infinity before the first.
  [[nodiscard]] double best_loss() const noexcept { return best_; }
  /// How many losses it has seen.
  [[nodiscard]] std::int64_t num_seen() const noexcept { return counts_[0]; }
  /// How many since the best one.
  [[nodiscard]] std::int64_t num_since_best() const noexcept { return counts_[1]; }
  /// The settings in use.
  [[nodiscard]] const EarlyStoppingOptions& options() const noexcept { return options_; }

  /// \brief Gives the model the weights that had the least loss.
  /// \throws std::invalid_argument if there was no loss, or the model has another size
  template <class Model>
  void restore(Model& model) const {
    constexpr const char* where = "EarlyStopping::restore";
    check_size(where, model);
    if (counts_[0] == 0) detail::raise(where, "it has seen no loss");
    const S* next = weights_.data();
    for_each_parameter(model, [&](const ParameterName&, auto& values) {
      std::copy_n(next, values.size(), values.data());
      next += values.size();
    });
  }

  /// \brief The best loss and weights, and the counts. \see Stateful
  template <class F>
  void visit_state(F&& f) {
    f("best_loss", std::span<double>(&best_, 1));
    f("counts", std::span<std::int64_t>(counts_));
    f("weights", std::span<S>(weights_));
  }
  /// \brief The best loss and weights, and the counts. \see Stateful
  template <class F>
  void visit_state(F&& f) const {
    f("best_loss", std::span<const double>(&best_, 1));
    f("counts", std::span<const std::int64_t>(counts_));
    f("weights", std::span<const S>(weights_));
  }
  /// \brief Takes over what was written through visit_state().
  /// \throws std::invalid_argument if it cannot be the state of an EarlyStopping
  void restored() const {
    constexpr const char* where = "EarlyStopping::restored";
    const auto [seen, since_best] = counts_;
    if (seen < 0) detail::raise(where, "the number of losses", seen, "at least 0");
    if (since_best < 0 || since_best > std::max(std::int64_t(0), seen - 1))
      detail::raise(where, "the number of losses since the best", since_best,
                    "at least 0 and below that of all");
    if (seen > 0 && !std::isfinite(best_))
      detail::raise(where, "best_loss", best_, "a finite number");
    for (const S value : weights_)
      if (!std::isfinite(value)) detail::raise(where, "a weight", value, "a finite number");
  }

 private:
  template <class Model>
  void check_size(std::string_view where, const Model& model) const {
    detail::check_equal(where, "number of parameters", count_parameters(model),
                        "that at construction", Index(weights_.size()));
  }

  EarlyStoppingOptions options_;
  double best_ = std::numeric_limits<double>::infinity();
  std::array<std::int64_t, 2> counts_ = {};  // losses seen, and those since the best
  AlignedVector<S> weights_;                 // tensors in visiting order
};

template <class Model>
EarlyStopping(const Model&, EarlyStoppingOptions = {}) -> EarlyStopping<typename Model::Scalar>;

}  // namespace comet
