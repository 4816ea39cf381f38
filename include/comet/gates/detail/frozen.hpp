// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/dots.hpp>

/// \file
/// \brief What the frozen gates share: affine functions without gradients, the experts behind a
/// gate's slots, and rows put in order.

namespace comet::detail {

/// \brief Affine functions w_h . x + c_h, one per column: values only.
template <class S>
class FrozenPlanes {
 public:
  FrozenPlanes() = default;
  FrozenPlanes(Matrix<S> weight, Matrix<S> bias)
      : weight_(std::move(weight)), bias_(std::move(bias)) {}

  [[nodiscard]] Index input_dim() const { return weight_.rows(); }
  [[nodiscard]] Index size() const { return weight_.cols(); }
  [[nodiscard]] const Matrix<S>& weight() const { return weight_; }  // d x H
  [[nodiscard]] const Matrix<S>& bias() const { return bias_; }      // H x 1

  /// The same bits as Hyperplanes::logits().
  [[nodiscard]] S logit(Index h, const S* x) const {
    S result;
    dots(weight_.col(h).data(), input_dim(), &x, 1, bias_(h, 0), &result);
    return result;
  }

 private:
  Matrix<S> weight_;
  Matrix<S> bias_;
};

/// The values of `prefix` + "weight" and `prefix` + "bias" of a gate.
template <class G>
FrozenPlanes<typename G::Scalar> frozen_planes(G gate, std::string_view prefix) {
  Matrix<typename G::Scalar> weight, bias;
  gate.visit_parameters([&](const ParameterName& name, auto& values, auto&) {
    check_finite<typename G::Scalar>("freeze", name.str(), values);
    if (name.str() == std::string(prefix) + "weight") weight = values;
    if (name.str() == std::string(prefix) + "bias") bias = values;
  });
  return {std::move(weight), std::move(bias)};
}

/// The expert of every slot i s + j of n experts and s permutations.
inline std::vector<ExpertId> slot_labels(std::span<const Permutation> permutations) {
  std::vector<ExpertId> labels;
  for (Index i = 0; i < permutations.front().size(); ++i)
    for (const Permutation& p : permutations) labels.push_back(p[i]);
  return labels;
}

/// \brief A row in the making: weights under their experts, in any order.
///
/// Weights of the same expert are added in the order in which they came.
template <class S>
class FrozenRow {
 public:
  void clear() {
    keys_.clear();
    weights_.clear();
  }

  void add(ExpertId expert, S weight) {
    // An expert above the place: sorts as a pair would, in one comparison.
    keys_.push_back((std::uint64_t(expert) << 32) | std::uint64_t(weights_.size()));
    weights_.push_back(weight);
  }

  /// Appends the row to a routing, experts ascending.
  void end(Routing<S>& routing) {
    std::sort(keys_.begin(), keys_.end());
    ExpertId last = -1;
    for (const std::uint64_t key : keys_) {
      const auto expert = ExpertId(key >> 32);
      const S weight = weights_[std::size_t(key & 0xffffffffU)];
      if (expert == last) {
        routing.weights().back() += weight;
      } else {
        routing.push(expert, weight);
        last = expert;
      }
    }
    routing.end_sample();
  }

 private:
  std::vector<std::uint64_t> keys_;
  std::vector<S> weights_;
};

/// What route() of every frozen gate does around a sample: route_sample(x) fills a row and returns
/// whether the logits were finite.
template <class S, class RouteSample>
void route_frozen(std::string_view where, const ConstMatrixView<S>& x, Index input_dim,
                  Routing<S>& routing, FrozenRow<S>& row, RouteSample route_sample) {
  check_equal(where, "x.rows()", x.rows(), "input_dim", input_dim);
  check_finite(where, "x", x);
  routing.clear();
  for (Index b = 0; b < x.cols(); ++b) {
    row.clear();
    if (!route_sample(x.col(b).data())) [[unlikely]]
      raise(where, "the logits of sample " + std::to_string(b) + " overflow");
    row.end(routing);
  }
}

}  // namespace comet::detail
