// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/errors.hpp>
#include <comet/core/gradients.hpp>
#include <comet/testing/detail/law_bench.hpp>

namespace comet::detail {

/// The laws of training, one function each. The loss is sum(upstream . weights) + regularization
/// with made-up derivatives by the weights.
template <class G>
class TrainingLaws : LawBench<G> {
  using Bench = LawBench<G>;
  using Bench::batch_;
  using Bench::gate_;
  using Bench::law;
  using Bench::options_;
  using Bench::same_bits;
  using Bench::tolerance;

 public:
  using S = typename G::Scalar;
  using Bench::Bench;

  void check() {
    law("forward() is a function of its key", [&] { return repeatable(); });
    law("gradients accumulate", [&] { return accumulates(); });
    law("dx is optional", [&] { return dx_optional(); });
    law("inputs of backward() are left alone", [&] { return inputs_kept(); });
    law("an empty batch trains nothing", [&] { return empty_batch(); });
    law("a masked sample trains nothing", [&] { return masked(); });
    law("threads change no bit of a gradient", [&] { return threads(); });
    if (options_.misuse) law("backward() follows its forward()", [&] { return protocol(); });
    if constexpr (std::same_as<S, double>)
      if (options_.differences) {
        law("parameter gradients agree with differences", [&] { return parameter_gradients(); });
        law("dx agrees with differences", [&] { return input_gradients(); });
      }
    if (options_.count_allocations)
      law("forward() and backward() allocate once", [&] { return allocates(); });
  }

 private:
  /// A step of a gate by itself, and what comes of it.
  struct Training {
    explicit Training(const G& gate, ThreadPool* pool = nullptr) : pass(gate, pool) {}

    Pass<G> pass;
    Routing<S> routing;
    std::vector<S> dweights;
    Matrix<S> dx;
  };

  [[nodiscard]] RandomKey key() const { return RandomKey(options_.seed).fold(3); }
  [[nodiscard]] S upstream(ExpertId expert, Index sample) const {
    return S(RandomKey(options_.seed).fold(1).fold(sample).uniform(std::uint64_t(expert), -1, 1));
  }

  double forward(const G& gate, const LawBatch<S>& batch, Training& training) const {
    gate.forward(batch.all(), training.routing, key(), training.pass);
    const Routing<S>& routing = training.routing;
    routing.validate("testing::check_gate_laws", gate.num_experts(), batch.size());
    auto loss = double(gate.regularization(training.pass));
    training.dweights.clear();
    for (Index b = 0; b < routing.num_samples(); ++b)
      for (std::size_t i = 0; i < routing.experts(b).size(); ++i) {
        training.dweights.push_back(upstream(routing.experts(b)[i], b));
        loss += double(training.dweights.back() * routing.weights(b)[i]);
      }
    return loss;
  }

  void backward(const G& gate, const LawBatch<S>& batch, Training& training,
                MatrixView<S> dx) const {
    gate.backward(batch.all(), training.routing, training.dweights, dx, training.pass);
  }

  /// forward() and backward(), with dx 0 at first.
  void step(const LawBatch<S>& batch, Training& training) const {
    training.dx = Matrix<S>::Zero(batch.x.rows(), batch.size());
    forward(gate_, batch, training);
    backward(gate_, batch, training, training.dx);
  }
  [[nodiscard]] Training step(const LawBatch<S>& batch, ThreadPool* pool = nullptr) const {
    Training training(gate_, pool);
    step(batch, training);
    return training;
  }

  std::vector<S> gradients(Training& training) const {
    std::vector<S> all;
    const GradientView<S> view = training.pass.gradients(gate_);
    for (Index i = 0; i < view.size(); ++i)
      all.insert(all.end(), view[i].data(), view[i].data() + view[i].size());
    return all;
  }

  std::string repeatable() const {
    Training first(gate_), second(gate_);
    const double loss = forward(gate_, batch_, first);
    forward(gate_, batch_, second);
    if (!same_bits(first.routing, second.routing)) return "the same key gives other bits";
    if (forward(gate_, batch_, second) != loss) return "the same key gives another regularization";
    if (!std::isfinite(loss)) return "the regularization is not finite";
    return {};
  }

  std::string accumulates() const {
    Training training = step(batch_);
    const std::vector<S> once = gradients(training);
    const Matrix<S> dx = training.dx;
    forward(gate_, batch_, training);
    backward(gate_, batch_, training, training.dx);
    const std::vector<S> twice = gradients(training);
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
    Training with = step(batch_);
    Training without(gate_);
    forward(gate_, batch_, without);
    backward(gate_, batch_, without, no_gradient);
    return same_bits(gradients(with), gradients(without)) ? "" : "without it, gradients differ";
  }

  std::string inputs_kept() const {
    LawBatch<S> batch = batch_;
    Training training(gate_);
    forward(gate_, batch, training);
    const Routing<S> routing = training.routing;
    const std::vector<S> dweights = training.dweights;
    Matrix<S> dx = Matrix<S>::Zero(batch.x.rows(), batch.size());
    backward(gate_, batch, training, dx);
    if (!same_bits(training.dweights, dweights)) return "it changes dweights";
    if (!same_bits(training.routing, routing)) return "it changes the routing";
    if (!same_bits(batch.x, batch_.x) || batch.ids != batch_.ids) return "it changes the samples";
    return {};
  }

  std::string empty_batch() const {
    Training training = step(batch_);
    const std::vector<S> before = gradients(training);
    LawBatch<S> none = batch_;
    none.x.conservativeResize(batch_.x.rows(), 0);
    none.ids.clear();
    step(none, training);
    if (!std::isfinite(double(gate_.regularization(training.pass))))
      return "the regularization is not finite";
    return same_bits(before, gradients(training)) ? "" : "gradients change";
  }

  // Padding in front holds nan in one batch and numbers in the other; that at the end is gone in
  // a third, whose samples have the same places and so the same random numbers.
  std::string masked() const {
    LawBatch<S> padded = batch_;
    padded.mask.assign(std::size_t(padded.size()), 1);
    const auto pad = [&](Index b) { padded.mask[std::size_t(b)] = 0; };
    for (Index b = 0; b < padded.size(); b += 3) pad(b);
    Training numbers = step(padded);
    for (Index b = 0; b < padded.size(); b += 3)
      padded.x.col(b).setConstant(std::numeric_limits<S>::quiet_NaN());
    Training nothing = step(padded);
    if (const std::string detail = differ(numbers, nothing); !detail.empty())
      return detail + " when padding holds nan";
    for (Index b = 0; b < padded.size(); b += 3)
      if (!nothing.dx.col(b).isZero(0)) return "padding gets a dx";
    if (!options_.any_size) return {};

    padded = batch_;
    padded.mask.assign(std::size_t(padded.size()), 1);
    for (Index b = padded.size() / 2; b < padded.size(); ++b) pad(b);
    Training with = step(padded);
    Training without = step(padded.compact());
    with.dx.conservativeResize(batch_.x.rows(), batch_.size() / 2);
    if (const std::string detail = differ(with, without); !detail.empty())
      return detail + " when padding is left away";
    return {};
  }

  std::string differ(Training& a, Training& b) const {
    if (!same_bits(a.routing.weights(), b.routing.weights())) return "weights differ";
    if (gate_.regularization(a.pass) != gate_.regularization(b.pass))
      return "the regularization differs";
    if (!same_bits(gradients(a), gradients(b))) return "gradients differ";
    return same_bits(a.dx, b.dx) ? "" : "dx differs";
  }

  std::string threads() const {
    const LawBatch<S> many = this->many();
    Training alone = step(many);
    for (const Index count : {1, 2, 4}) {
      ThreadPool pool(count);
      Training together = step(many, &pool);
      if (const std::string detail = differ(alone, together); !detail.empty())
        return detail + " with " + std::to_string(count) + " threads";
    }
    return {};
  }

  std::string protocol() const {
    if (batch_.size() == 0) return {};
    using Mistake = std::invalid_argument;
    Training training(gate_);
    const auto refuses = [&](const std::string& what, const std::string& words) {
      const Index entries = training.routing.num_entries();
      training.dweights.assign(std::size_t(entries), S(1));
      return Bench::template refused<Mistake>(
          what, words, [&] { backward(gate_, batch_, training, no_gradient); });
    };
    const std::string first = "forward()";
    if (auto detail = refuses("backward() without a forward()", first); !detail.empty())
      return detail;
    forward(gate_, batch_, training);
    gate_.route(batch_.all(), training.routing, training.pass);
    if (auto detail = refuses("backward() after route()", first); !detail.empty()) return detail;
    if (std::string detail = failed_forward(training); !detail.empty()) return detail;
    return wrong_sizes(training);
  }

  std::string failed_forward(Training& training) const {
    if constexpr (requires { Index(gate_.input_dim()); }) {
      if (gate_.input_dim() == 0) return {};
      forward(gate_, batch_, training);
      LawBatch<S> bad = batch_;
      bad.x(0, 0) = std::numeric_limits<S>::quiet_NaN();
      Routing<S> routing;
      std::string detail = this->template refused<NotFinite>("forward() of nan", "x(0, 0)", [&] {
        gate_.forward(bad.all(), routing, key(), training.pass);
      });
      if (!detail.empty()) return detail;
      return this->template refused<std::invalid_argument>(
          "backward() after a forward() that failed", "forward()",
          [&] { backward(gate_, batch_, training, no_gradient); });
    }
    return {};
  }

  std::string wrong_sizes(Training& training) const {
    using Mistake = std::invalid_argument;
    forward(gate_, batch_, training);
    LawBatch<S> fewer = batch_;
    fewer.x.conservativeResize(batch_.x.rows(), batch_.size() - 1);
    fewer.ids.pop_back();
    std::string detail = this->template refused<Mistake>(
        "backward() of fewer samples", "x.cols() is " + std::to_string(fewer.size()),
        [&] { backward(gate_, fewer, training, no_gradient); });
    Matrix<S> tall = Matrix<S>::Zero(batch_.x.rows() + 1, batch_.size());
    if (detail.empty())
      detail = this->template refused<Mistake>("a dx of a row too many", "dx.rows() is ",
                                               [&] { backward(gate_, batch_, training, tall); });
    training.dweights.push_back(S(1));
    if (detail.empty())
      detail = this->template refused<Mistake>("a derivative too many", "dweights.size() is ", [&] {
        backward(gate_, batch_, training, no_gradient);
      });
    return detail;
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
    Training training = step(batch_);
    Training scratch(gate_);
    const GradientView<S> view = training.pass.gradients(gate_);
    G gate = gate_;
    std::string detail;
    Index tensor = 0;
    for_each_parameter(gate, [&](const ParameterName& name, auto& values) {
      const auto gradient = view[tensor++];
      for (Index i = 0; i < values.size() && detail.empty(); ++i)
        detail =
            compare(name.str() + "[" + std::to_string(i) + "]", values.data()[i],
                    double(gradient.data()[i]), [&] { return forward(gate, batch_, scratch); });
    });
    return detail;
  }

  std::string input_gradients() const {
    const Training training = step(batch_);
    Training scratch(gate_);
    LawBatch<S> batch = batch_;
    std::string detail;
    for (Index i = 0; i < batch.x.size() && detail.empty(); ++i)
      detail =
          compare("x[" + std::to_string(i) + "]", batch.x.data()[i], double(training.dx.data()[i]),
                  [&] { return forward(gate_, batch, scratch); });
    return detail;
  }

  std::string allocates() const {
    Training training = step(batch_);
    step(batch_, training);
    training.dx.setZero();
    const long before = options_.count_allocations();
    forward(gate_, batch_, training);
    backward(gate_, batch_, training, training.dx);
    return this->allocations_since(before);
  }
};

}  // namespace comet::detail
