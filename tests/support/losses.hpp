// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

#include <comet/core/parameters.hpp>
#include <comet/core/types.hpp>

namespace comet::test {

/// \brief A matrix as a model of one parameter, to check the gradient of a loss by it.
struct MatrixModel {
  using Scalar = double;
  Parameter<double> p;

  explicit MatrixModel(Matrix<double> values) : p(values.rows(), values.cols()) {
    p.values = std::move(values);
  }

  template <class F>
  void visit_parameters(F&& f) {
    p.visit("p", f);
  }
};

}  // namespace comet::test
