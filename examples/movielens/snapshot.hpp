// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include <comet/parameters.hpp>
#include <comet/types.hpp>

namespace movielens {

/// \brief The values of all parameters of a model at some moment.
template <class S>
class Snapshot {
 public:
  template <class Model>
  void take(Model& model) {
    std::size_t tensor = 0;
    model.visit_parameters([&](const comet::ParameterName&, auto& values, auto&) {
      if (tensor == values_.size()) values_.emplace_back();
      values_[tensor++] = values;
    });
  }

  template <class Model>
  void restore(Model& model) const {
    std::size_t tensor = 0;
    model.visit_parameters(
        [&](const comet::ParameterName&, auto& values, auto&) { values = values_[tensor++]; });
  }

 private:
  std::vector<comet::Matrix<S>> values_;  // in visiting order
};

}  // namespace movielens
