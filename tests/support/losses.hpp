// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/parameters.hpp>
#include <comet/core/types.hpp>

namespace comet::test {

/// \brief A matrix as a model of one parameter, to check the gradient of a loss by it.
struct MatrixModel {
  using Scalar = double;
  Parameter<double> p;

  explicit MatrixModel(const Matrix<double>& values) : p(values.rows(), values.cols()) {
    p = values;
  }

  template <class F>
  void visit(F&& f) const {
    f("p", p);
  }
};

}  // namespace comet::test
