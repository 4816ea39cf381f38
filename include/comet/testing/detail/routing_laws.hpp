// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/errors.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/testing/detail/law_bench.hpp>

namespace comet::detail {

/// The first law: where it is broken, nothing else can be read safely.
inline constexpr const char* law_of_entries = "entries ascend, in range and few";

/// The laws of routing, one function each: an empty string if it holds, else what breaks it.
template <class G>
class RoutingLaws : LawBench<G> {
  using Bench = LawBench<G>;
  using Bench::at;
  using Bench::batch_;
  using Bench::gate_;
  using Bench::law;
  using Bench::options_;
  using Bench::route;
  using Bench::same_bits;
  using Bench::same_row;

 public:
  using S = typename G::Scalar;
  using Bench::Bench;

  void check() {
    law(law_of_entries, [&] { return entries(); });
    if (!this->broken_.empty()) return;
    law("weights are shares", [&] { return weights(); });
    if (!comet::depends_on_batch(gate_))
      law("a sample is independent of its batch", [&] { return sample_alone(); });
    law("a row is independent of memory", [&] { return any_address(); });
    law("route() is repeatable", [&] { return repeatable(); });
    law("threads change no bit of a row", [&] { return threads(); });
    law("copies are independent", [&] { return copies(); });
    law("an empty batch is a batch", [&] { return empty_batch(); });
    law("a masked sample is routed nowhere", [&] { return masked(); });
    if (options_.misuse) law("wrong inputs are named", [&] { return input_errors(); });
    if (options_.relabel) law("relabelling experts moves weights", [&] { return relabelling(); });
    if (options_.count_allocations) law("route() allocates once", [&] { return allocates(); });
  }

 private:
  std::string entries() const {
    const Index num_samples = batch_.size();
    const Routing<S> routing = route(gate_, batch_.all());
    if (routing.num_samples() != num_samples)
      return std::to_string(routing.num_samples()) + " rows for " + std::to_string(num_samples) +
             " samples";
    routing.validate("testing::check_gate_laws", gate_.num_experts(), num_samples);
    const Index most = options_.max_active > 0 ? options_.max_active : Index(gate_.max_active());
    for (Index b = 0; b < num_samples; ++b)
      if (Index(routing.experts(b).size()) > most)
        return std::to_string(routing.experts(b).size()) + " entries" + at(b) + ", at most " +
               std::to_string(most) + " were promised";
    return {};
  }

  std::string weights() const {
    const Routing<S> routing = route(gate_, batch_.all());
    for (Index b = 0; b < routing.num_samples(); ++b) {
      double sum = 0;
      for (const S weight : routing.weights(b)) {
        if (!(weight >= S(0) && std::isfinite(weight)))
          return "a weight" + at(b) + " is " + std::to_string(weight);
        sum += double(weight);
      }
      if ((options_.at_most_one && sum > 1 + Bench::tolerance) ||
          (options_.sums_to_one && sum < 1 - Bench::tolerance))
        return "the weights" + at(b) + " sum to " + std::to_string(sum);
    }
    return {};
  }

  // One pass goes through batches of all sizes: it must not remember any of them.
  std::string sample_alone() const {
    Pass<G> pass(gate_);
    Routing<S> all, part;
    gate_.route(batch_.all(), all, pass);
    for (Index count = 1; count < batch_.size(); count += 2)
      for (Index first = batch_.size() - count; first >= 0; first -= count) {
        gate_.route(batch_.part(first, count), part, pass);
        for (Index b = 0; b < count; ++b)
          if (!same_row(all, first + b, part, b))
            return "the row" + at(first + b) + " is another in a batch of " + std::to_string(count);
      }
    return {};
  }

  // Every offset from an aligned address, with a gap between columns.
  std::string any_address() const {
    const Matrix<S>& x = batch_.x;
    const Routing<S> here = route(gate_, batch_.all());
    const Index stride = x.rows() + 3;
    for (Index offset = 0; offset < 8; ++offset) {
      std::vector<S> memory(std::size_t(offset + stride * x.cols() + 1));
      Eigen::Map<Matrix<S>, 0, Eigen::OuterStride<>> moved(memory.data() + offset, x.rows(),
                                                           x.cols(), Eigen::OuterStride<>(stride));
      moved = x;
      if (!same_bits(here, route(gate_, Samples<S>(moved, batch_.ids))))
        return "at another address, rows have other bits";
    }
    return {};
  }

  std::string repeatable() const {
    const std::vector<S> parameters = values(gate_);
    Pass<G> pass(gate_);
    Routing<S> first, second;
    gate_.route(batch_.all(), first, pass);
    gate_.route(batch_.all(), second, pass);
    if (!same_bits(first, second)) return "a second call gives other bits";
    if (!same_bits(first, route(gate_, batch_.all()))) return "another pass gives other bits";
    if (!same_bits(parameters, values(gate_))) return "a call changes the parameters";
    return {};
  }

  std::string threads() const {
    const LawBatch<S> many = this->many();
    const Routing<S> alone = route(gate_, many.all());
    for (const Index count : {1, 2, 4}) {
      ThreadPool pool(count);
      if (!same_bits(alone, route(gate_, many.all(), &pool)))
        return "with " + std::to_string(count) + " threads, rows have other bits";
    }
    return {};
  }

  std::string copies() const {
    G original = gate_;
    const Routing<S> before = route(original, batch_.all());
    G copy = original;
    if (!same_bits(before, route(copy, batch_.all()))) return "a copy gives other bits";
    for_each_parameter(copy, [](const ParameterName&, auto& values) { values.array() += S(0.5); });
    if (!same_bits(values(original), values(gate_)))
      return "changing a copy's parameters changes the original's";
    if (!same_bits(before, route(original, batch_.all())))
      return "changing a copy changes the original";
    return {};
  }

  std::string empty_batch() const {
    Pass<G> pass(gate_);
    Routing<S> routing;
    gate_.route(batch_.all(), routing, pass);
    gate_.route(batch_.part(0, 0), routing, pass);
    if (routing.num_samples() != 0 || routing.num_entries() != 0)
      return std::to_string(routing.num_samples()) + " rows for no sample";
    return {};
  }

  // Padding holds nan and an id that no gate knows. A gate for batches of one size gives those
  // that are left the rows they have when none is masked.
  std::string masked() const {
    LawBatch<S> padded = batch_;
    padded.mask.assign(std::size_t(padded.size()), 1);
    for (Index b = 0; b < padded.size(); b += 3) {
      padded.mask[std::size_t(b)] = 0;
      padded.x.col(b).setConstant(std::numeric_limits<S>::quiet_NaN());
      padded.ids[std::size_t(b)] = -1;
    }
    const Routing<S> routing = route(gate_, padded.all());
    const Routing<S> live = route(gate_, options_.any_size ? padded.compact().all() : batch_.all());
    Index next = 0;
    for (Index b = 0; b < padded.size(); ++b)
      if (!padded.all().is_live(b)) {
        if (!routing.experts(b).empty())
          return "the row" + at(b) + ", which is masked, has entries";
      } else if (!same_row(routing, b, live, options_.any_size ? next++ : b)) {
        return "the row" + at(b) + " is another than without masked ones";
      }
    return {};
  }

  std::string input_errors() const {
    if constexpr (requires { Index(gate_.input_dim()); }) {
      const Index d = gate_.input_dim();
      if (d == 0 || batch_.size() == 0) return {};
      Pass<G> pass(gate_);
      Routing<S> routing;
      const auto try_route = [&](const LawBatch<S>& batch) {
        return [&] { gate_.route(batch.all(), routing, pass); };
      };
      LawBatch<S> wrong = batch_;
      wrong.x = Matrix<S>::Zero(d + 1, batch_.size());
      std::string detail = this->template refused<std::invalid_argument>(
          "x of a row too many", "x.rows() is " + std::to_string(d + 1), try_route(wrong));
      const Index last = batch_.size() - 1;
      const std::string place = "x(" + std::to_string(d - 1) + ", " + std::to_string(last) + ")";
      for (const S value : {std::numeric_limits<S>::quiet_NaN(), std::numeric_limits<S>::infinity(),
                            -std::numeric_limits<S>::infinity()}) {
        wrong = batch_;
        wrong.x(d - 1, last) = value;
        if (detail.empty())
          detail = this->template refused<NotFinite>(place + " that is not finite", place,
                                                     try_route(wrong));
      }
      if (!detail.empty()) return detail;
      gate_.route(batch_.all(), routing, pass);
      if (!same_bits(routing, route(gate_, batch_.all())))
        return "after an error, the pass gives other bits";
    }
    return {};
  }

  std::string relabelling() const {
    const Index n = gate_.num_experts();
    const auto p = Permutation::random(n, RandomKey(options_.seed).fold(2));
    G relabelled = gate_;
    options_.relabel(relabelled, p);
    const Matrix<S> before = route(gate_, batch_.all()).dense(n);
    const Matrix<S> after = route(relabelled, batch_.all()).dense(n);
    for (Index b = 0; b < before.cols(); ++b)
      for (Index i = 0; i < n; ++i)
        if (!(std::abs(double(after(p[i], b)) - double(before(i, b))) <= Bench::tolerance))
          return "expert " + std::to_string(p[i]) + at(b) + " has weight " +
                 std::to_string(after(p[i], b)) + ", expected " + std::to_string(before(i, b));
    return {};
  }

  std::string allocates() const {
    Pass<G> pass(gate_);
    Routing<S> routing;
    gate_.route(batch_.all(), routing, pass);
    const long before = options_.count_allocations();
    gate_.route(batch_.all(), routing, pass);
    return this->allocations_since(before);
  }

  static std::vector<S> values(const G& gate) {
    std::vector<S> all;
    for_each_parameter(gate, [&](const ParameterName&, const auto& values) {
      all.insert(all.end(), values.data(), values.data() + values.size());
    });
    return all;
  }
};

}  // namespace comet::detail
