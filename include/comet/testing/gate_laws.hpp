// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <limits>
#include <ostream>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>

namespace comet::testing {

/// \brief A law that a gate breaks, and by what.
struct BrokenLaw {
  std::string law;     ///< Which law.
  std::string detail;  ///< How it is broken.

  friend bool operator==(const BrokenLaw&, const BrokenLaw&) = default;
  friend std::ostream& operator<<(std::ostream& out, const BrokenLaw& broken) {
    return out << broken.law << ": " << broken.detail;
  }
};

/// How GateLaws are tried, and what the gate promises.
template <class G>
struct GateLawOptions {
  Index num_samples = 7;    ///< B >= 0 of the batches that are tried
  Index input_dim = 0;      ///< of features; 0 takes gate.input_dim(), or 1 if there is none
  Index num_ids = 0;        ///< of ids; 0 takes gate.num_ids()
  Index max_active = 0;     ///< entries per row; 0 takes gate.max_active()
  bool sums_to_one = true;  ///< false if weights may sum to less than 1
  bool differences = true;  ///< compare gradients with differences: 2 forward passes a parameter
  std::uint64_t seed = 0;   ///< of inputs, uniform in +-1
  /// Allocations of the program so far. Empty leaves out the laws on allocations.
  std::function<long()> count_allocations = nullptr;
  /// Changes the gate so that the weight of expert i goes to expert p(i). Empty leaves out the law
  /// on relabelling.
  std::function<void(G&, const Permutation&)> relabel = nullptr;
};

}  // namespace comet::testing

namespace comet::detail {

/// Inputs of a gate, all or one sample at a time.
template <class G>
struct LawInput {
  using S = typename G::Scalar;
  static constexpr bool is_features = std::same_as<typename G::Input, ConstMatrixView<S>>;
  static_assert(is_features || std::same_as<typename G::Input, std::span<const std::int32_t>>,
                "comet::testing::check_gate_laws: Input is neither ConstMatrixView<Scalar> nor "
                "std::span<const std::int32_t>");

  LawInput(const G& gate, const testing::GateLawOptions<G>& options) {
    const RandomKey key(options.seed);
    if constexpr (is_features) {
      Index d = options.input_dim;
      if constexpr (requires { gate.input_dim(); }) d = d > 0 ? d : Index(gate.input_dim());
      x.resize(std::max(Index(1), d), options.num_samples);
      key.fill_uniform(x, -1, 1);
    } else {
      Index num_ids = options.num_ids;
      if constexpr (requires { gate.num_ids(); }) num_ids = num_ids > 0 ? num_ids : gate.num_ids();
      check_at_least("testing::check_gate_laws", "options.num_ids", num_ids, 1);
      for (Index b = 0; b < options.num_samples; ++b)
        ids.push_back(std::int32_t(key.index(std::uint64_t(b), std::uint64_t(num_ids))));
    }
  }

  /// Calls use(input) with `count` samples from `first` on.
  template <class F>
  void samples(Index first, Index count, F use) const {
    if constexpr (is_features) {
      use(typename G::Input(x.middleCols(first, count)));
    } else {
      use(typename G::Input(ids.data() + first, std::size_t(count)));
    }
  }

  Matrix<S> x;
  std::vector<std::int32_t> ids;
};

/// The laws, one function each: an empty string if it holds, else what breaks it.
template <class G>
class GateLaws {
 public:
  using S = typename G::Scalar;
  using Workspace = typename G::Workspace;

  GateLaws(const G& gate, const testing::GateLawOptions<G>& options)
      : gate_(gate), options_(options), input_(gate, options) {
    upstream_.resize(gate.num_experts(), options.num_samples);
    RandomKey(options.seed).fold(1).fill_uniform(upstream_, -1, 1);
  }

  std::vector<testing::BrokenLaw> check() {
    law("entries ascend, in range and few", [&] { return entries(); });
    if (!broken_.empty()) return std::move(broken_);  // nothing else can be read safely
    law("weights are shares", [&] { return weights(); });
    law("a sample is independent of its batch", [&] { return sample_alone(); });
    law("route() is repeatable", [&] { return repeatable(); });
    law("copies are independent", [&] { return copies(); });
    law("an empty batch is a batch", [&] { return empty_batch(); });
    if (options_.relabel) law("relabelling experts moves weights", [&] { return relabelling(); });
    if (options_.count_allocations)
      law("route() allocates once", [&] { return route_allocates(); });
    if constexpr (TrainableGate<G>) {
      law("forward() is a function of its key", [&] { return forward_repeatable(); });
      law("gradients accumulate", [&] { return accumulates(); });
      law("dx is optional", [&] { return dx_optional(); });
      law("an empty batch trains nothing", [&] { return empty_training(); });
      if constexpr (std::same_as<S, double>)
        if (options_.differences) {
          law("parameter gradients agree with differences", [&] { return parameter_gradients(); });
          law("dx agrees with differences", [&] { return input_gradients(); });
        }
      if (options_.count_allocations)
        law("forward() and backward() allocate once", [&] { return training_allocates(); });
    }
    return std::move(broken_);
  }

 private:
  static constexpr double tolerance = std::same_as<S, float> ? 1e-5 : 1e-12;

  template <class Check>
  void law(const char* name, Check holds) {
    std::string detail;
    try {
      detail = holds();
    } catch (const std::exception& error) {
      detail = std::string("throws ") + error.what();
    }
    if (!detail.empty()) broken_.push_back({name, detail});
  }

  static bool same_bits(std::span<const S> a, std::span<const S> b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(S)) == 0);
  }
  static bool same_bits(const Routing<S>& a, const Routing<S>& b) {
    return std::ranges::equal(a.offsets(), b.offsets()) &&
           std::ranges::equal(a.experts(), b.experts()) && same_bits(a.weights(), b.weights());
  }

  static std::string at(Index sample) { return " of sample " + std::to_string(sample); }

  void route(const G& gate, Routing<S>& routing, Workspace& workspace) const {
    input_.samples(0, options_.num_samples,
                   [&](const auto& input) { gate.route(input, routing, workspace); });
  }
  [[nodiscard]] Routing<S> route(const G& gate) const {
    Workspace workspace;
    Routing<S> routing;
    route(gate, routing, workspace);
    return routing;
  }

  std::string entries() const {
    const Routing<S> routing = route(gate_);
    if (routing.num_samples() != options_.num_samples)
      return std::to_string(routing.num_samples()) + " rows for " +
             std::to_string(options_.num_samples) + " samples";
    routing.validate("GateLaws::route", gate_.num_experts(), options_.num_samples);
    const Index most = options_.max_active > 0 ? options_.max_active : Index(gate_.max_active());
    for (Index b = 0; b < routing.num_samples(); ++b)
      if (Index(routing.experts(b).size()) > most)
        return std::to_string(routing.experts(b).size()) + " entries" + at(b) + ", at most " +
               std::to_string(most) + " were promised";
    return {};
  }

  std::string weights() const {
    const Routing<S> routing = route(gate_);
    for (Index b = 0; b < routing.num_samples(); ++b) {
      double sum = 0;
      for (const S weight : routing.weights(b)) {
        if (!(weight >= S(0))) return "a weight" + at(b) + " is " + std::to_string(weight);
        sum += double(weight);
      }
      if (sum > 1 + tolerance || (options_.sums_to_one && sum < 1 - tolerance))
        return "the weights" + at(b) + " sum to " + std::to_string(sum);
    }
    return {};
  }

  // One workspace goes through batches of all sizes: it must not remember any of them.
  std::string sample_alone() const {
    Workspace workspace;
    Routing<S> all, alone;
    route(gate_, all, workspace);
    for (Index b = options_.num_samples; b-- > 0;) {
      input_.samples(b, 1, [&](const auto& input) { gate_.route(input, alone, workspace); });
      if (!std::ranges::equal(all.experts(b), alone.experts(0)))
        return "alone, the experts" + at(b) + " are others";
      if (!same_bits(all.weights(b), alone.weights(0)))
        return "alone, the weights" + at(b) + " have other bits";
    }
    return {};
  }

  std::string repeatable() const {
    G gate = gate_;
    const std::vector<S> parameters = values(gate);
    Workspace workspace;
    Routing<S> first, second;
    route(gate, first, workspace);
    route(gate, second, workspace);
    if (!same_bits(first, second)) return "a second call gives other bits";
    if (!same_bits(first, route(gate))) return "another workspace gives other bits";
    if (!same_bits(parameters, values(gate))) return "a call changes the parameters";
    return {};
  }

  std::string copies() const {
    G original = gate_;
    const Routing<S> before = route(original);
    G copy = original;
    if (!same_bits(before, route(copy))) return "a copy gives other bits";
    if constexpr (Parametric<G>) {
      copy.visit_parameters([](const ParameterName&, auto& values, auto& gradients) {
        values.array() += S(0.5);
        gradients.array() += S(0.5);
      });
      G reference = gate_;
      if (!same_bits(values(original), values(reference)) ||
          !same_bits(gradients(original), gradients(reference)))
        return "changing a copy's parameters changes the original's";
      if (!same_bits(before, route(original))) return "changing a copy changes the original";
    }
    return {};
  }

  std::string empty_batch() const {
    Workspace workspace;
    Routing<S> routing;
    route(gate_, routing, workspace);
    input_.samples(0, 0, [&](const auto& input) { gate_.route(input, routing, workspace); });
    if (routing.num_samples() != 0 || routing.num_entries() != 0)
      return std::to_string(routing.num_samples()) + " rows for no sample";
    return {};
  }

  std::string relabelling() const {
    const Index n = gate_.num_experts();
    const auto p = Permutation::random(n, RandomKey(options_.seed).fold(2));
    G relabelled = gate_;
    options_.relabel(relabelled, p);
    const Matrix<S> before = route(gate_).dense(n);
    const Matrix<S> after = route(relabelled).dense(n);
    for (Index b = 0; b < before.cols(); ++b)
      for (Index i = 0; i < n; ++i)
        if (!(std::abs(double(after(p[i], b)) - double(before(i, b))) <= tolerance))
          return "expert " + std::to_string(p[i]) + at(b) + " has weight " +
                 std::to_string(after(p[i], b)) + ", expected " + std::to_string(before(i, b));
    return {};
  }

  std::string route_allocates() const {
    Workspace workspace;
    Routing<S> routing;
    route(gate_, routing, workspace);
    const long before = options_.count_allocations();
    route(gate_, routing, workspace);
    return allocations_since(before);
  }

  std::string allocations_since(long before) const {
    const long count = options_.count_allocations() - before;
    return count == 0 ? "" : std::to_string(count) + " allocations in the second call";
  }

  // Training.

  /// What a training step of a gate by itself needs: the loss is sum(upstream . weights) +
  /// regularization.
  struct Training {
    Workspace workspace;
    Routing<S> routing;
    std::vector<S> dweights;
    Matrix<S> dx;
  };

  double forward(const G& gate, const LawInput<G>& input, Training& training) const {
    input.samples(0, options_.num_samples, [&](const auto& in) {
      gate.forward(in, training.routing, RandomKey(options_.seed).fold(3), training.workspace);
    });
    training.routing.validate("GateLaws::forward", gate.num_experts(), options_.num_samples);
    double loss = double(gate.regularization(training.workspace));
    training.dweights.clear();
    for (Index b = 0; b < training.routing.num_samples(); ++b) {
      const auto experts = training.routing.experts(b);
      for (std::size_t i = 0; i < experts.size(); ++i) {
        training.dweights.push_back(upstream_(experts[i], b));
        loss += double(upstream_(experts[i], b) * training.routing.weights(b)[i]);
      }
    }
    return loss;
  }

  void backward(G& gate, Training& training, MatrixView<S> dx) const {
    input_.samples(0, options_.num_samples, [&](const auto& in) {
      gate.backward(in, training.routing, training.dweights, dx, training.workspace);
    });
  }

  /// A whole step on a gate whose gradients are 0 at first; dx is zero at first too.
  G step(Training& training) const {
    G gate = gate_;
    zero_gradients(gate);
    training.dx = Matrix<S>::Zero(input_.x.rows(), input_.x.cols());
    forward(gate, input_, training);
    backward(gate, training, training.dx);
    return gate;
  }

  std::string forward_repeatable() const {
    Training first, second;
    const double loss = forward(gate_, input_, first);
    forward(gate_, input_, second);
    if (!same_bits(first.routing, second.routing)) return "the same key gives other bits";
    if (forward(gate_, input_, second) != loss) return "the same key gives another regularization";
    if (!std::isfinite(loss)) return "the regularization is not finite";
    return {};
  }

  std::string accumulates() const {
    Training training;
    G gate = step(training);
    const std::vector<S> once = gradients(gate);
    const Matrix<S> dx = training.dx;
    forward(gate, input_, training);
    backward(gate, training, training.dx);
    const std::vector<S> twice = gradients(gate);
    double largest = 0, error = 0;
    for (std::size_t i = 0; i < once.size(); ++i) {
      largest = std::max(largest, std::abs(double(once[i])));
      error = std::max(error, std::abs(double(twice[i]) - 2 * double(once[i])));
    }
    if (!(error <= tolerance * (1 + largest))) return "two passes do not give twice the gradients";
    if (dx.size() > 0 && !((training.dx - S(2) * dx).template lpNorm<Eigen::Infinity>() <=
                           S(tolerance) * (S(1) + dx.template lpNorm<Eigen::Infinity>())))
      return "two passes do not give twice dx";
    return {};
  }

  std::string dx_optional() const {
    Training with, without;
    G gate = step(with);
    G other = gate_;
    zero_gradients(other);
    forward(other, input_, without);
    Matrix<S> none;
    backward(other, without, none);
    return same_bits(gradients(gate), gradients(other)) ? "" : "without it, gradients differ";
  }

  std::string empty_training() const {
    Training training;
    G gate = step(training);
    const std::vector<S> before = gradients(gate);
    input_.samples(0, 0, [&](const auto& in) {
      gate.forward(in, training.routing, RandomKey(options_.seed), training.workspace);
      Matrix<S> dx(input_.x.rows(), 0);
      gate.backward(in, training.routing, {}, dx, training.workspace);
    });
    if (!std::isfinite(double(gate.regularization(training.workspace))))
      return "the regularization is not finite";
    return same_bits(before, gradients(gate)) ? "" : "gradients change";
  }

  /// Empty if `analytic` is the derivative by `value`. Left and right differences bound it, so a
  /// point beside a kink or a jump is judged leniently and all others to the step size.
  template <class Loss>
  std::string compare(const std::string& name, S& value, double analytic, Loss loss) const {
    const S kept = value;
    const double here = loss();
    const S step = std::cbrt(std::numeric_limits<S>::epsilon()) * std::max(S(1), std::abs(kept));
    value = kept + step;
    const double right = (loss() - here) / double(step);
    value = kept - step;
    const double left = (here - loss()) / double(step);
    value = kept;
    const double rounding = 8 * std::numeric_limits<double>::epsilon() * std::abs(here);
    const double margin =
        1e-6 * std::max({1.0, std::abs(left), std::abs(right)}) + rounding / double(step);
    if (analytic >= std::min(left, right) - margin && analytic <= std::max(left, right) + margin)
      return {};
    return "the gradient of " + name + " is " + std::to_string(analytic) + ", differences give " +
           std::to_string((left + right) / 2);
  }

  std::string parameter_gradients() const {
    Training training, scratch;
    G gate = step(training);
    std::string detail;
    gate.visit_parameters([&](const ParameterName& name, auto& values, auto& gradients) {
      for (Index i = 0; i < values.size() && detail.empty(); ++i)
        detail =
            compare(name.str() + "[" + std::to_string(i) + "]", values.data()[i],
                    double(gradients.data()[i]), [&] { return forward(gate, input_, scratch); });
    });
    return detail;
  }

  std::string input_gradients() const {
    Training training, scratch;
    const G gate = step(training);
    LawInput<G> input = input_;
    std::string detail;
    for (Index i = 0; i < input.x.size() && detail.empty(); ++i)
      detail =
          compare("x[" + std::to_string(i) + "]", input.x.data()[i], double(training.dx.data()[i]),
                  [&] { return forward(gate, input, scratch); });
    return detail;
  }

  std::string training_allocates() const {
    Training training;
    G gate = step(training);
    forward(gate, input_, training);
    const long before = options_.count_allocations();
    forward(gate, input_, training);
    backward(gate, training, training.dx);
    return allocations_since(before);
  }

  static std::vector<S> values(G& gate) { return collect(gate, true); }
  static std::vector<S> gradients(G& gate) { return collect(gate, false); }
  static std::vector<S> collect(G& gate, bool of_values) {
    std::vector<S> all;
    if constexpr (Parametric<G>)
      gate.visit_parameters([&](const ParameterName&, auto& values, auto& gradients) {
        const auto& tensor = of_values ? values : gradients;
        all.insert(all.end(), tensor.data(), tensor.data() + tensor.size());
      });
    return all;
  }

  const G& gate_;
  const testing::GateLawOptions<G>& options_;
  LawInput<G> input_;
  Matrix<S> upstream_;  // n x B
  std::vector<testing::BrokenLaw> broken_;
};

}  // namespace comet::detail

namespace comet::testing {

/// \brief Checks the laws that every gate must obey; run it on a gate of your own in one line:
///
///     for (const auto& broken : comet::testing::check_gate_laws(gate)) std::cout << broken;
///
/// - experts of a row ascend, are below n and at most max_active(); weights are >= 0 and sum to 1
///   (or at most 1, by option);
/// - a sample has the same bits alone and in a batch; so has a second call; copies are independent;
///   a batch of 0 samples is allowed;
/// - for a TrainableGate: forward() is a function of its key, gradients are added and agree with
///   differences (in double), dx is optional;
/// - where options give the means: relabelling experts moves weights, second calls do not allocate.
///
/// A law that throws counts as broken. Inputs are random, so that ties and kinks are improbable.
///
/// \param gate  is copied, not changed
/// \return the laws that are broken: none for a good gate
/// \par Cost    2 forward passes per parameter and input, unless options.differences is off
template <Gate G>
[[nodiscard]] std::vector<BrokenLaw> check_gate_laws(
    const G& gate, const std::type_identity_t<GateLawOptions<G>>& options = {}) {
  return comet::detail::GateLaws<G>(gate, options).check();
}

}  // namespace comet::testing
