// SPDX-License-Identifier: MIT
#pragma once

#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
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
[[nodiscard]] auto values_of(const Model& model) {
  std::vector<typename Model::Scalar> all;
  for_each_parameter(model, [&](const ParameterName&, const auto& values) {
    all.insert(all.end(), values.data(), values.data() + values.size());
  });
  return all;
}

/// Every gradient, in visiting order.
template <class S>
[[nodiscard]] std::vector<S> values_of(GradientView<S> gradients) {
  std::vector<S> all;
  for (Index i = 0; i < gradients.size(); ++i) {
    const auto tensor = gradients[i];
    all.insert(all.end(), tensor.data(), tensor.data() + tensor.size());
  }
  return all;
}
template <class S>
[[nodiscard]] std::vector<S> values_of(Gradients<S>& gradients) {
  return values_of(gradients.view());
}

/// Every gradient that a pass has, in visiting order.
template <class Model>
[[nodiscard]] auto gradients_of(const Model& model, Pass<Model>& pass) {
  return values_of(pass.gradients(model));
}

/// Sets the gradients that a pass has to zero.
template <class Model>
void clear_gradients(const Model& model, Pass<Model>& pass) {
  const auto gradients = pass.gradients(model);
  for (Index i = 0; i < gradients.size(); ++i) gradients[i].setZero();
}

/// Where a tensor is in visiting order.
template <class Model>
[[nodiscard]] Index tensor_number(const Model& model, const std::string& name) {
  Index found = -1, number = 0;
  for_each_parameter(model, [&](const ParameterName& n, const auto&) {
    if (n.str() == name) found = number;
    ++number;
  });
  if (found < 0) throw std::runtime_error("no parameter " + name);
  return found;
}

/// The values of one tensor, to be read or changed.
template <class Model>
[[nodiscard]] auto parameter(Model& model, const std::string& name) {
  using S = typename Model::Scalar;
  Eigen::Map<Matrix<S>> found(nullptr, 0, 0);
  bool any = false;
  for_each_parameter(model, [&](const ParameterName& n, auto& values) {
    if (n.str() != name) return;
    new (&found) Eigen::Map<Matrix<S>>(values.data(), values.rows(), values.cols());
    any = true;
  });
  if (!any) throw std::runtime_error("no parameter " + name);
  return found;
}

/// The gradient of one tensor.
template <class Model>
[[nodiscard]] Matrix<typename Model::Scalar> gradient(
    const Model& model, GradientView<typename Model::Scalar> gradients, const std::string& name) {
  return gradients[tensor_number(model, name)];
}
template <class Model>
[[nodiscard]] auto gradient(const Model& model, Pass<Model>& pass, const std::string& name) {
  return gradient(model, pass.gradients(model), name);
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

  WithInput(Part& p, const Matrix<Scalar>& input) : part(p), x(input.rows(), input.cols()) {
    x = input;
  }

  template <class F>
  void visit(F&& f) const {
    if constexpr (Parametric<Part>) part.visit(f);
    f("x", x);
  }

  /// Of the part's tensors among those of this model.
  [[nodiscard]] GradientView<Scalar> of_part(GradientView<Scalar> gradients) const {
    return gradients.middle(0, gradients.size() - 1);
  }
  /// Of the input.
  [[nodiscard]] auto of_input(GradientView<Scalar> gradients) const {
    return gradients[gradients.size() - 1];
  }

  Part& part;
  Parameter<Scalar> x;
};

}  // namespace comet::test
