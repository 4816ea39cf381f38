// SPDX-License-Identifier: MIT
#pragma once

#include <ATen/ATen.h>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <sstream>
#include <string>
#include <string_view>

#include <comet/core/check.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// The dtype of a scalar.
template <class S>
inline constexpr at::ScalarType torch_dtype = c10::CppTypeToScalarType<S>::value;

template <class T>
std::string torch_text(const T& value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

/// Numbers in the memory of this machine's processor, with strides.
inline void check_torch_memory(std::string_view where, const std::string& name,
                               const at::Tensor& tensor) {
  if (!tensor.defined()) raise(where, name + " is not defined");
  if (!tensor.device().is_cpu() || tensor.layout() != at::kStrided)
    raise(where, name + " is on " + torch_text(tensor.device()) + ", " +
                     torch_text(tensor.layout()) + "; comet computes on dense tensors on the CPU");
}

template <class S>
void check_torch_dtype(std::string_view where, const std::string& name, const at::Tensor& tensor) {
  if (tensor.scalar_type() != torch_dtype<S>)
    raise(where, name + " is of " + torch_text(tensor.scalar_type()) + ", expected " +
                     torch_text(torch_dtype<S>) +
                     " as the layer's parameters; convert it with .to()");
}

/// In C order, without a copy if it is.
inline at::Tensor in_c_order(const at::Tensor& tensor) {
  return tensor.resolve_neg().contiguous();  // the sign of a view may be pending
}

/// A (..., d) tensor as a d x B matrix.
template <class S>
Eigen::Map<Matrix<S>> torch_columns(const at::Tensor& tensor, Index rows, Index cols) {
  return {tensor.data_ptr<S>(), rows, cols};
}

/// A batch as tensors that Samples can be a view of: features, and an id and a mask for each sample
/// or none.
template <class S>
struct TorchSamples {
  at::Tensor x;     // (..., d) of S, in C order
  at::Tensor ids;   // B of int32
  at::Tensor mask;  // B of uint8

  TorchSamples(std::string_view where, const at::Tensor& features, const at::Tensor& sample_ids,
               const at::Tensor& sample_mask, Index input_dim) {
    check_torch_memory(where, "x", features);
    check_torch_dtype<S>(where, "x", features);
    if (features.dim() == 0) raise(where, "x is a single number, expected (..., d)");
    check_equal(where, "x.size(-1)", features.size(-1), "input_dim", input_dim);
    x = in_c_order(features);
    if (sample_ids.defined()) take_ids(where, sample_ids);
    if (sample_mask.defined()) take_mask(where, sample_mask);
  }

  [[nodiscard]] Index size() const { return x.numel() / x.size(-1); }

  [[nodiscard]] Samples<S> view() const {
    return Samples<S>(torch_columns<S>(x, x.size(-1), size()), numbers<std::int32_t>(ids),
                      numbers<std::uint8_t>(mask));
  }

 private:
  template <class T>
  [[nodiscard]] std::span<const T> numbers(const at::Tensor& tensor) const {
    if (!tensor.defined()) return {};
    return {tensor.data_ptr<T>(), std::size_t(size())};
  }

  void check_one_each(std::string_view where, const std::string& name,
                      const at::Tensor& tensor) const {
    check_torch_memory(where, name, tensor);
    if (tensor.sizes() != x.sizes().slice(0, std::size_t(x.dim()) - 1))
      raise(where, name + " has the shape " + torch_text(tensor.sizes()) +
                       ", expected x's without the last axis, " +
                       torch_text(x.sizes().slice(0, std::size_t(x.dim()) - 1)));
  }

  void take_ids(std::string_view where, const at::Tensor& tensor) {
    check_one_each(where, "ids", tensor);
    if (tensor.scalar_type() != at::kInt && tensor.scalar_type() != at::kLong)
      raise(where, "ids are of " + torch_text(tensor.scalar_type()) + ", expected Int or Long");
    if (tensor.scalar_type() == at::kLong && tensor.numel() > 0) {
      constexpr std::int64_t largest = std::numeric_limits<std::int32_t>::max();
      const auto greatest = tensor.max().template item<std::int64_t>();
      const auto least = tensor.min().template item<std::int64_t>();
      if (greatest > largest || least < -largest)
        raise(where, "an id is " + std::to_string(greatest > largest ? greatest : least) +
                         ", expected one of 32 bits");
    }
    ids = tensor.to(at::kInt).contiguous().clone();  // small, and nobody watches them
  }

  void take_mask(std::string_view where, const at::Tensor& tensor) {
    check_one_each(where, "mask", tensor);
    if (tensor.scalar_type() != at::kBool && tensor.scalar_type() != at::kByte)
      raise(where, "the mask is of " + torch_text(tensor.scalar_type()) +
                       ", expected Bool or Byte, true for a sample and false for padding");
    mask = tensor.contiguous().view(at::kByte).clone();
  }
};

}  // namespace comet::detail
