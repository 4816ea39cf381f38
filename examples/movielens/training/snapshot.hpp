// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <comet/core/parameters.hpp>
#include <comet/core/types.hpp>
#include <comet/io/safetensors.hpp>

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

  /// For a file, named `prefix` + the names of the model; valid until the next take().
  template <class Model>
  [[nodiscard]] std::vector<comet::Tensor> tensors(Model& model, const std::string& prefix) {
    Named<Model> named{model, values_};
    return comet::parameter_tensors(named, prefix);
  }

  /// \throws comet::FileError if the file does not have the model's tensors under the prefix
  template <class Model>
  void load(const comet::TensorFile& file, Model& model, const std::string& prefix) {
    take(model);
    Named<Model> named{model, values_};
    comet::load_parameters(file, named, prefix);
  }

 private:
  /// The values under the model's names.
  template <class Model>
  struct Named {
    Model& model;
    std::vector<comet::Matrix<S>>& values;

    template <class F>
    void visit_parameters(F&& f) {
      std::size_t tensor = 0;
      model.visit_parameters([&](const comet::ParameterName& name, auto&, auto& gradients) {
        f(name, values[tensor++], gradients);
      });
    }
  };

  std::vector<comet::Matrix<S>> values_;  // in visiting order
};

}  // namespace movielens
