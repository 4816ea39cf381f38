// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/storage.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief A tensor as a file has it. The memory is someone else's.
struct Tensor {
  std::string name;                  ///< As in the file, e.g. `experts.3.weight`.
  std::string dtype;                 ///< "F32", "F64", "I32", "I64", "U8", ...
  std::vector<Index> shape;          ///< C order: neighbours in memory differ in the last index
  std::span<const std::byte> bytes;  ///< as many as dtype and shape say
};

namespace detail {

struct DType {
  std::string_view name;
  std::uint64_t size;
};
inline constexpr std::array<DType, 15> dtypes = {{{"F64", 8},
                                                  {"F32", 4},
                                                  {"F16", 2},
                                                  {"BF16", 2},
                                                  {"F8_E4M3", 1},
                                                  {"F8_E5M2", 1},
                                                  {"I64", 8},
                                                  {"I32", 4},
                                                  {"I16", 2},
                                                  {"I8", 1},
                                                  {"U64", 8},
                                                  {"U32", 4},
                                                  {"U16", 2},
                                                  {"U8", 1},
                                                  {"BOOL", 1}}};

/// Bytes of an element; 0 for a type that is not known.
inline std::uint64_t size_of_dtype(std::string_view name) {
  for (const DType& type : dtypes)
    if (type.name == name) return type.size;
  return 0;
}

template <class T>
[[nodiscard]] std::string dtype_of() {
  static_assert(StorageType<T> || std::integral<T>);
  if constexpr (std::same_as<T, Bfloat16>) return "BF16";
  if constexpr (std::same_as<T, Eigen::half>) return "F16";
  const char* kind = std::floating_point<T> ? "F" : std::signed_integral<T> ? "I" : "U";
  return kind + std::to_string(8 * sizeof(T));
}

inline std::string shape_text(std::span<const Index> shape) {
  std::string text = "[";
  for (const Index size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

/// Number of bytes of a tensor; false if no 64-bit number holds it.
inline bool size_of_tensor(std::span<const Index> shape, std::uint64_t item, std::uint64_t& size) {
  size = item;
  for (const Index length : shape)
    if (__builtin_mul_overflow(size, std::uint64_t(length), &size)) return false;
  return true;
}

}  // namespace detail

/// \brief Numbers as a tensor. \param values  C order, not copied
/// \throws std::invalid_argument if `shape` does not multiply to their count
template <class T>
[[nodiscard]] Tensor make_tensor(std::string name, std::vector<Index> shape,
                                 std::span<const T> values) {
  std::uint64_t bytes = 0;
  if (!detail::size_of_tensor(shape, sizeof(T), bytes))
    detail::raise("make_tensor", "shape", detail::shape_text(shape), "fewer than 2^64 bytes");
  const auto count = Index(bytes / sizeof(T));
  detail::check_equal("make_tensor", "values.size()", Index(values.size()),
                      "the product of " + detail::shape_text(shape), count);
  return {std::move(name), detail::dtype_of<T>(), std::move(shape), std::as_bytes(values)};
}

/// \brief The tensors of several parts, one behind the other, for one file.
[[nodiscard]] inline std::vector<Tensor> joined(const std::vector<std::vector<Tensor>>& parts) {
  std::vector<Tensor> all;
  for (const auto& tensors : parts) all.insert(all.end(), tensors.begin(), tensors.end());
  return all;
}

}  // namespace comet
