// SPDX-License-Identifier: MIT
#pragma once

#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief Small things that tests of models share: random data, parameters by name, bits.

namespace comet::test {

template <class S>
[[nodiscard]] Matrix<S> random_matrix(Index rows, Index cols, std::uint64_t seed, double low = -1,
                                      double high = 1) {
  Matrix<S> values(rows, cols);
  RandomKey(seed).fill_uniform(values, low, high);
  return values;
}

/// Every value, in visiting order.
template <class Model>
[[nodiscard]] auto values_of(Model& model) {
  std::vector<typename Model::Scalar> all;
  model.visit_parameters([&](const ParameterName&, auto& values, auto&) {
    all.insert(all.end(), values.data(), values.data() + values.size());
  });
  return all;
}

/// Every gradient, in visiting order.
template <class Model>
[[nodiscard]] auto gradients_of(Model& model) {
  std::vector<typename Model::Scalar> all;
  model.visit_parameters([&](const ParameterName&, auto&, auto& gradients) {
    all.insert(all.end(), gradients.data(), gradients.data() + gradients.size());
  });
  return all;
}

/// The values of one tensor, to be read or changed.
template <class Model>
[[nodiscard]] auto parameter(Model& model, const std::string& name) {
  using S = typename Model::Scalar;
  Eigen::Map<Matrix<S>> found(nullptr, 0, 0);
  bool any = false;
  model.visit_parameters([&](const ParameterName& n, auto& values, auto&) {
    if (n.str() != name) return;
    new (&found) Eigen::Map<Matrix<S>>(values.data(), values.rows(), values.cols());
    any = true;
  });
  if (!any) throw std::runtime_error("no parameter " + name);
  return found;
}

/// The gradient of one tensor.
template <class Model>
[[nodiscard]] auto gradient(Model& model, const std::string& name) {
  Matrix<typename Model::Scalar> found;
  bool any = false;
  model.visit_parameters([&](const ParameterName& n, auto&, auto& gradients) {
    if (n.str() != name) return;
    found = gradients;
    any = true;
  });
  if (!any) throw std::runtime_error("no parameter " + name);
  return found;
}

template <class S>
[[nodiscard]] bool same_bits(const std::vector<S>& a, const std::vector<S>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(S)) == 0);
}

/// Compares column by column, so blocks and maps with a gap between columns will do.
template <class A, class B>
[[nodiscard]] bool same_bits(const Eigen::DenseBase<A>& a, const Eigen::DenseBase<B>& b) {
  using S = typename A::Scalar;
  if (a.rows() != b.rows() || a.cols() != b.cols()) return false;
  const Matrix<S> left = a, right = b;
  return left.size() == 0 ||
         std::memcmp(left.data(), right.data(), std::size_t(left.size()) * sizeof(S)) == 0;
}

/// A part whose input counts as one more parameter `x`, so that a gradient check covers it.
template <class Part>
struct WithInput {
  using Scalar = typename Part::Scalar;

  WithInput(Part& p, Matrix<Scalar> input)
      : part(p), x(std::move(input)), dx(Matrix<Scalar>::Zero(x.rows(), x.cols())) {}

  template <class F>
  void visit_parameters(F&& f) {
    part.visit_parameters(f);
    f("x", x, dx);
  }

  Part& part;
  Matrix<Scalar> x;
  Matrix<Scalar> dx;
};

}  // namespace comet::test
