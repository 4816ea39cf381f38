// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// The sizes of a model's tensors in visiting order: by them an optimizer knows its model again.
class TensorSizes {
 public:
  TensorSizes() = default;
  template <class Model>
  explicit TensorSizes(const Model& model) {
    check_model<Model>();
    for_each_parameter(model, [&](const ParameterName&, const auto& parameter) {
      sizes_.push_back(parameter.size());
      total_ += parameter.size();
    });
  }

  /// Number of values of all tensors.
  [[nodiscard]] Index total() const noexcept { return total_; }

  /// \throws std::invalid_argument naming the first tensor that has another size
  template <class Model>
  void validate(std::string_view where, const Model& model) const {
    std::size_t tensor = 0;
    for_each_parameter(model, [&](const ParameterName& name, const auto& parameter) {
      if (tensor == sizes_.size() || sizes_[tensor] != parameter.size()) [[unlikely]]
        raise(where,
              "the model's tensors are others than at construction, from " + name.str() + " on");
      ++tensor;
    });
    check_equal(where, "number of tensors", Index(tensor), "that at construction",
                Index(sizes_.size()));
  }

 private:
  std::vector<Index> sizes_;
  Index total_ = 0;
};

}  // namespace comet::detail
