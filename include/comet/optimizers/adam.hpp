// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/schedule.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/decay.hpp>
#include <comet/optimizers/detail/tensor_sizes.hpp>
#include <comet/optimizers/parameter_group.hpp>

namespace comet {

/// Settings of an Adam.
struct AdamOptions {
  Schedule learning_rate = 1e-3;  ///< > 0: a number; or a schedule, whose value at t has step t
  double beta1 = 0.9;             ///< decay of the mean gradient, in [0, 1)
  double beta2 = 0.999;           ///< decay of the mean squared gradient, in [0, 1)
  double epsilon = 1e-8;          ///< > 0, as a number of type S
  /// >= 0: a step shrinks parameters by the factor 1 - rate * weight_decay, apart from the
  /// gradient. None is 0 in an Adam and 0.01 in an AdamW. Of all tensors, unless a group says
  /// otherwise.
  std::optional<double> weight_decay = {};
  /// Leaves alone the columns (rows of an embedding) whose gradient is exactly 0. Much cheaper when
  /// a batch touches few of them, but not the same: their moments do not decay in between, and they
  /// stop where the dense form would coast on; nor do their weights.
  bool lazy = false;
  std::vector<ParameterGroup> groups = {};  ///< Tensors with a learning rate or decay of their own.
};

/// \brief Adam (Kingma and Ba, ICLR 2015, Algorithm 1).
///
///     m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
///     p = (1 - rate * weight_decay) p
///         - rate * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)
///
/// Steps t are counted from 1. Weights do not decay by default; if they do, they do so apart from
/// the gradient (Loshchilov and Hutter, ICLR 2019, Algorithm 2). step() applies the gradients and
/// sets them to zero, in one pass over memory. State is kept by the order in which the model visits
/// its parameters, so a copied or moved model goes on. Moments that have decayed to almost nothing
/// (m below 1e-30 in float, v below 1e-38) are set to 0: of an expert that has no rows any more
/// they would become denormal, with which some processors compute twenty times as slowly.
///
/// \code
///   Adam adam(layer, {.learning_rate = 0.01});
///   adam.step(layer, pass);             // the gradients that are in the pass
///   adam.step(model, gradients);        // or in an object of their own
/// \endcode
///
/// \par Cost     7 memory accesses per parameter; threads share chunks of fixed size
/// \tparam S     float or double, the scalar of the model
template <class S>
class Adam {
 public:
  using Scalar = S;  ///< float or double.

  /// For an optimizer that is assigned later: it knows no model.
  Adam() = default;
  /// \param model  whose parameters will be changed: another one of the same sizes will do, too
  /// \param pool   not owned, may be null
  /// \throws std::invalid_argument if an option is outside its bounds
  template <class Model>
  explicit Adam(const Model& model, AdamOptions options = {}, ThreadPool* pool = nullptr)
      : options_(validated(std::move(options))),
        pool_(pool),
        sizes_(model),
        tensors_(detail::tensor_settings("Adam", model, options_.groups, *options_.weight_decay)),
        mean_(std::size_t(sizes_.total()), S(0)),
        square_(std::size_t(sizes_.total()), S(0)) {
    check_rates("Adam", options_.learning_rate);
  }

  /// The settings in use: weight_decay is a number.
  [[nodiscard]] const AdamOptions& options() const noexcept { return options_; }
  /// Number of steps so far.
  [[nodiscard]] std::int64_t num_steps() const noexcept { return num_steps_; }

  /// \brief Changes the learning rate, to a constant.
  /// \throws std::invalid_argument if it is outside its bounds; the old one stays
  void set_learning_rate(double learning_rate) {
    constexpr const char* where = "Adam::set_learning_rate";
    detail::check_positive(where, "learning_rate", learning_rate);
    check_rates(where, learning_rate);
    options_.learning_rate = learning_rate;
  }

  /// \brief One step: changes the model's parameters and sets the gradients to zero.
  /// \param gradients  of the model: a GradientView, or a Gradients
  /// \throws std::invalid_argument if the model has other sizes than the one at construction, or
  ///         the gradients are of another model
  /// \throws NotFinite naming the first tensor whose gradient, or its square, is not finite; the
  ///         parts of it that are not finite are not applied
  template <class Model>
  void step(Model& model, GradientView<S> gradients) {
    prepare(model, gradients);
    ++num_steps_;
    const double correction1 = 1.0 - std::pow(options_.beta1, double(num_steps_));
    const double correction2 = 1.0 - std::pow(options_.beta2, double(num_steps_));
    learning_rate_ = options_.learning_rate(Index(num_steps_));
    correction_ = correction1;
    scale_ = S(1.0 / std::sqrt(correction2));
    parallel_for(detail::worth_threads(pool_, double(mean_.size()) * 8), Index(chunks_.size()),
                 [&](Index i, Index) { update(chunks_[std::size_t(i)]); });
    for (const Chunk& chunk : chunks_)
      if (!chunk.finite) [[unlikely]]
        raise_not_finite(model, chunk.tensor);
  }
  /// \brief The same by the gradients that are in a pass of the model.
  template <class Model>
  void step(Model& model, Pass<Model>& pass) {
    step(model, pass.gradients(model));
  }

  /// \brief The moments and the number of steps. \see Stateful
  template <class F>
  void visit_state(F&& f) {
    f("mean", std::span<S>(mean_));
    f("square", std::span<S>(square_));
    f("steps", std::span<std::int64_t>(&num_steps_, 1));
  }
  /// \brief The moments and the number of steps. \see Stateful
  template <class F>
  void visit_state(F&& f) const {
    f("mean", std::span<const S>(mean_));
    f("square", std::span<const S>(square_));
    f("steps", std::span<const std::int64_t>(&num_steps_, 1));
  }
  /// \brief Takes over what was written through visit_state().
  /// \throws std::invalid_argument if it cannot be the state of an Adam
  void restored() const {
    constexpr const char* where = "Adam::restored";
    if (num_steps_ < 0) detail::raise(where, "steps", num_steps_, "at least 0");
    for (const S value : mean_)
      if (!std::isfinite(value)) detail::raise(where, "a mean", value, "a finite number");
    for (const S value : square_) detail::check_not_negative(where, "a square", double(value));
  }

 private:
  static constexpr Index chunk_size = 1 << 14;  // a task
  static constexpr Index block_size = 1 << 10;  // stays in the first-level cache between passes

  static AdamOptions validated(AdamOptions options) {
    detail::check_rate_as<S>("Adam", "beta1", options.beta1);
    detail::check_rate_as<S>("Adam", "beta2", options.beta2);
    detail::check_fits<S>("Adam", "epsilon", options.epsilon);
    // In S, where a small one may be 0 and make 0 / 0 of a gradient of 0.
    detail::check_positive("Adam", "epsilon", double(S(options.epsilon)));
    options.weight_decay = options.weight_decay.value_or(0);
    return options;
  }

  /// What a step makes of a learning rate has to be a number of type S, too.
  void check_rates(const char* where, const Schedule& learning_rate) const {
    detail::check_learning_rate<S>(where, learning_rate);
    for (const auto& [rate_factor, weight_decay] : tensors_) {
      const double rate = learning_rate.largest() * rate_factor;
      detail::check_fits<S>(where, "learning_rate * rate_factor / (1 - beta1)",
                            rate / (1 - options_.beta1));
      detail::check_fits<S>(where, "learning_rate * rate_factor * weight_decay",
                            rate * weight_decay);
    }
  }

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
  void prepare(Model& model, GradientView<S> gradients) {
    sizes_.validate("Adam::step", model);
    gradients.validate("Adam::step", model);
    chunks_.clear();
    Index total = 0;
    Index tensor = 0;
    for_each_parameter(model, [&](const ParameterName&, auto& values) {
      S* const gradient = gradients[tensor].data();
      const Index column = std::max(Index(1), values.rows());
      const Index stride =
          options_.lazy ? std::max(Index(1), chunk_size / column) * column : chunk_size;
      for (Index first = 0; first < values.size(); first += stride)
        chunks_.push_back({values.data() + first, gradient + first, total + first,
                           std::min(stride, values.size() - first), column, tensor, true});
      total += values.size();
      ++tensor;
    });
  }

  void update(Chunk& chunk) {
    if (!options_.lazy) {
      for (Index first = 0; first < chunk.size; first += block_size)
        update(chunk, first, std::min(block_size, chunk.size - first));
      return;
    }
    // Most columns have no gradient: so many are looked at together that one look is cheap.
    constexpr Index at_once = 512;
    const Index stride = std::max(Index(1), at_once / chunk.column) * chunk.column;
    for (Index first = 0; first < chunk.size; first += stride) {
      const Index end = std::min(first + stride, chunk.size);
      if (!has_gradient(chunk, first, end - first)) continue;
      for (Index column = first; column < end; column += chunk.column)
        if (has_gradient(chunk, column, chunk.column)) update(chunk, column, chunk.column);
    }
  }

  /// A nan is a gradient, too: it is noticed where it is used.
  static bool has_gradient(const Chunk& chunk, Index first, Index size) {
    using Array = Eigen::Map<const Eigen::Array<S, Eigen::Dynamic, 1>>;
    return !(Array(chunk.gradients + first, size).abs().sum() == S(0));
  }

  void update(Chunk& chunk, Index first, Index size) {
    using Array = Eigen::Map<Eigen::Array<S, Eigen::Dynamic, 1>>;
    Array p(chunk.values + first, size);
    Array g(chunk.gradients + first, size);
    Array m(mean_.data() + chunk.state + first, size);
    Array v(square_.data() + chunk.state + first, size);
    // Nor may the square overflow: an infinite v would never let the parameter move again.
    if (!detail::all_finite(g * g)) [[unlikely]] {
      chunk.finite = false;
      return;
    }
    m = S(options_.beta1) * m + S(1 - options_.beta1) * g;
    v = S(options_.beta2) * v + S(1 - options_.beta2) * g * g;
    if (detail::ends_decay(num_steps_)) {
      detail::clear_tiny(m.data(), size, detail::end_of_decay<S>);
      // Not as early: what is divided by its root may be as small as the root.
      detail::clear_tiny(v.data(), size, 2 * std::numeric_limits<S>::min());
    }
    const auto& [rate_factor, weight_decay] = tensors_[std::size_t(chunk.tensor)];
    const S rate = S(learning_rate_ * rate_factor / correction_);
    if (weight_decay > 0) p *= S(1 - learning_rate_ * rate_factor * weight_decay);
    p -= rate * m / (v.sqrt() * scale_ + S(options_.epsilon));
    g.setZero();
  }

  template <class Model>
  [[noreturn, gnu::cold]] void raise_not_finite(const Model& model, Index tensor) const {
    std::string name;
    for_each_parameter(model, [&](const ParameterName& n, const auto&) {
      if (tensor-- == 0) name = n.str();
    });
    detail::raise_not_finite(
        "Adam::step", "the gradient of " + name,
        "is not finite, or too large to be squared, at step " + std::to_string(num_steps_));
  }

  AdamOptions options_;
  ThreadPool* pool_ = nullptr;
  detail::TensorSizes sizes_;
  std::vector<detail::TensorSettings> tensors_;  // in visiting order
  AlignedVector<S> mean_;                        // of the gradients, tensors in visiting order
  AlignedVector<S> square_;                      // of their squares
  std::int64_t num_steps_ = 0;
  std::vector<Chunk> chunks_;
  double learning_rate_ = 0;  // of this step
  double correction_ = 1;     // bias correction of the mean
  S scale_ = 0;               // bias correction of the square root
};

template <class Model>
Adam(const Model&, AdamOptions = {}, ThreadPool* = nullptr) -> Adam<typename Model::Scalar>;

/// \brief Adam with decoupled weight decay, under the name that people look for: an Adam whose
/// weight_decay is 0.01 where the options say none.
///
/// \code
///   AdamW optimizer(model, {.learning_rate = Schedule::warm_up(200).then_cosine(3e-4, 20'000)});
/// \endcode
/// Biases and embeddings decay too unless a group says otherwise. \see ParameterGroup
template <class S>
class AdamW : public Adam<S> {
 public:
  /// For an optimizer that is assigned later: it knows no model.
  AdamW() = default;
  /// As an Adam's.
  template <class Model>
  explicit AdamW(const Model& model, AdamOptions options = {}, ThreadPool* pool = nullptr)
      : Adam<S>(model, decaying(std::move(options)), pool) {}

 private:
  static AdamOptions decaying(AdamOptions options) {
    options.weight_decay = options.weight_decay.value_or(0.01);
    return options;
  }
};

template <class Model>
AdamW(const Model&, AdamOptions = {}, ThreadPool* = nullptr) -> AdamW<typename Model::Scalar>;

}  // namespace comet
