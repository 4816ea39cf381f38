// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/random.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/hyperplanes.hpp>

namespace comet::detail {

/// \brief Chooses the planes of a tree so that each leaf gets as many samples of a batch as
/// another.
///
/// A plane has a random direction in the space of features over their standard deviations, so that
/// the unit of a feature does not matter; its threshold is the quantile, of the samples that come
/// to the node, that leaves each child as many as it has leaves; its length makes the standard
/// deviation of their logits what is asked for.
///
/// \par Cost  d multiply-adds per sample and level, and a selection; in double
template <class S>
class EvenSplits {
 public:
  /// \param deviation  of a split's logits over the samples that come to it, in units of gamma, > 0
  EvenSplits(std::string_view where, const Samples<S>& samples, Index input_dim, Index num_leaves,
             double deviation)
      : x_(samples.features), num_leaves_(num_leaves), deviation_(deviation) {
    check_positive(where, "deviation", deviation);
    samples.validate(where, input_dim);
    live_.assign(samples);
    check_at_least(where, "number of samples", live_.size(), num_leaves);
    measure_features();
  }

  /// Sets the planes of one tree: that of node q is plane q * stride + first.
  void grow(Hyperplanes<S>& planes, double gamma, Index stride, Index first, RandomKey key) {
    planes_ = &planes;
    gamma_ = gamma;
    stride_ = stride;
    first_ = first;
    key_ = key;
    here_.resize(std::size_t(live_.size()));
    for (Index i = 0; i < live_.size(); ++i) here_[std::size_t(i)] = std::int32_t(live_[i]);
    grow(0, here_);
  }

 private:
  /// 1 over the standard deviation of each feature; 0 for one that is a constant.
  void measure_features() {
    scale_.setZero(x_.rows());
    const auto size = double(live_.size());
    for (Index f = 0; f < x_.rows(); ++f) {
      const auto first = double(x_(f, live_[0]));  // so that a constant has no rounding
      double sum = 0, square = 0, largest = 0;
      for (Index i = 0; i < live_.size(); ++i) {
        const auto value = double(x_(f, live_[i]));
        sum += value - first;
        largest = std::max(largest, std::abs(value));
      }
      for (Index i = 0; i < live_.size(); ++i) {
        const double difference = double(x_(f, live_[i])) - first - sum / size;
        square += difference * difference / size;
      }
      const double deviation = std::sqrt(square);
      const double rounding = 8 * double(std::numeric_limits<S>::epsilon()) * largest;
      if (deviation > rounding && deviation > double(std::numeric_limits<S>::min()))
        scale_(f) = 1 / deviation;
    }
  }

  [[nodiscard]] Index leaves_below(Index node) const {
    return node >= num_leaves_ - 1 ? 1 : leaves_below(2 * node + 1) + leaves_below(2 * node + 2);
  }

  /// Sets the plane of a node and those below it.
  /// \param here  samples that come to it; is reordered
  void grow(Index node, std::span<std::int32_t> here) {
    if (node >= num_leaves_ - 1) return;
    const Index left = leaves_below(2 * node + 1);
    const auto wanted = std::size_t(std::llround(double(here.size()) * double(left) /
                                                 double(left + leaves_below(2 * node + 2))));
    Vector<double> weight(x_.rows());
    const RandomKey own = key_.fold(node);
    for (Index f = 0; f < x_.rows(); ++f) weight(f) = own.normal(std::uint64_t(f)) * scale_(f);
    const double threshold = place(here, wanted, weight);
    const double length = deviation_ * gamma_ / deviation();
    planes_->set(node * stride_ + first_, weight * length, -threshold * length);
    // By the plane as it is stored: what is equal stays together.
    const auto end = std::partition(here.begin(), here.end(), [&](std::int32_t b) {
      return planes_->logit(node * stride_ + first_, x_.col(b).data()) > S(0);
    });
    const auto count = std::size_t(end - here.begin());
    grow(2 * node + 1, here.first(count));
    grow(2 * node + 2, here.subspan(count));
  }

  /// A threshold that `wanted` of the samples are above.
  double place(std::span<const std::int32_t> here, std::size_t wanted,
               const Vector<double>& weight) {
    along_.clear();
    for (const std::int32_t b : here)
      along_.push_back(weight.dot(x_.col(b).template cast<double>()));
    if (along_.empty()) return 0;
    if (wanted == 0 || wanted == along_.size()) return along_.front();
    const auto cut = along_.begin() + std::ptrdiff_t(wanted);
    std::nth_element(along_.begin(), cut, along_.end(), std::greater<>());
    return (*cut + *std::min_element(along_.begin(), cut)) / 2;
  }

  /// Standard deviation along the direction of the last place(); 1 where samples do not differ.
  [[nodiscard]] double deviation() const {
    double mean = 0, square = 0;
    for (const double a : along_) mean += a / double(along_.size());
    for (const double a : along_) square += (a - mean) * (a - mean) / double(along_.size());
    return square > 0 ? std::sqrt(square) : 1;
  }

  ConstMatrixView<S> x_;
  Index num_leaves_;
  double deviation_;
  double gamma_ = 1;
  LiveSamples live_;
  Vector<double> scale_;  // d
  Hyperplanes<S>* planes_ = nullptr;
  Index stride_ = 1;
  Index first_ = 0;
  RandomKey key_{0};
  std::vector<std::int32_t> here_;  // the samples, by the leaf they come to
  std::vector<double> along_;       // of the samples at a node, in the plane's direction
};

}  // namespace comet::detail
