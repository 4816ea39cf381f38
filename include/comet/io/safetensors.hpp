// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <ranges>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/parameters.hpp>
#include <comet/core/storage.hpp>
#include <comet/core/types.hpp>
#include <comet/io/tensor.hpp>
#include <comet/io/tensor_file.hpp>

/// \file
/// \brief Models and the state of their training in files of the safetensors format, which Python's
/// package of that name reads and writes. It needs nlohmann/json: link comet::safetensors.
///
/// A weight that is in x out here, one output unit per column, has the memory of a C-order array
/// [out, in]: it is written with that shape, which is PyTorch's for a linear layer, and no byte
/// moves. An embedding of d x ids is [ids, d], a bias [out].
///
/// A file in half precision (BF16, F16) is read into a float or double model, number by number and
/// exactly; a frozen model is written and read as it keeps its weights.
///
/// \code
///   save_parameters("model.safetensors", model, {{"trained_on", "ml-latest-small"}});
///   load_parameters(TensorFile("model.safetensors"), model);
///
///   save_tensors("checkpoint.safetensors",                              // and to go on later
///                joined({parameter_tensors(model, "model."), state_tensors(adam, "adam."),
///                        state_tensors(layer.gates(), "gates.")}));
///   const TensorFile file("checkpoint.safetensors");
///   load_parameters(file, model, "model.");
///   load_state(file, adam, "adam.");
///   load_state(file, layer.gates(), "gates.");
/// \endcode

namespace comet {

/// \brief The parameters of a model as tensors named `prefix` + their names. Nothing is copied.
/// \param model  Parametric; must stay as it is while the tensors are used
template <class Model>
[[nodiscard]] std::vector<Tensor> parameter_tensors(const Model& model,
                                                    const std::string& prefix = "") {
  detail::check_model<Model>();
  std::vector<Tensor> tensors;
  for_each_parameter(model, [&](const ParameterName& name, const auto& parameter) {
    using S = typename std::remove_cvref_t<decltype(parameter)>::Scalar;
    tensors.push_back(
        make_tensor<S>(prefix + name.str(), parameter.shape(),
                       std::span<const S>(parameter.data(), std::size_t(parameter.size()))));
  });
  return tensors;
}

/// \brief Writes the parameters of a model. \see save_tensors
template <class Model>
void save_parameters(const std::filesystem::path& file, const Model& model,
                     Metadata metadata = {}) {
  save_tensors(file, parameter_tensors(model), std::move(metadata));
}

namespace detail {

/// Writers differ in what they take a column for: [out] or [1, out].
inline std::vector<Index> without_leading_ones(std::vector<Index> shape) {
  while (shape.size() > 1 && shape.front() == 1) shape.erase(shape.begin());
  return shape;
}

/// Whether every number of the file's type is one of type S.
template <class S>
[[nodiscard]] bool widens(const Tensor& tensor) {
  return std::floating_point<S> && (tensor.dtype == "BF16" || tensor.dtype == "F16");
}

/// The numbers of a tensor, which may be kept in half precision.
template <class S>
void copy_numbers(const Tensor& from, S* to) {
  const auto widen = [&]<class Half>(Half half) {
    for (std::size_t i = 0; i < from.bytes.size(); i += sizeof(Half)) {
      std::memcpy(&half, from.bytes.data() + i, sizeof(Half));
      *to++ = static_cast<S>(static_cast<float>(half));
    }
  };
  if constexpr (std::floating_point<S>) {
    if (from.dtype == "BF16") return widen(Bfloat16());
    if (from.dtype == "F16") return widen(Eigen::half());
  }
  if (!from.bytes.empty()) std::memcpy(to, from.bytes.data(), from.bytes.size());
}

/// f(name, values) for every piece of the state of a part, or of the parts of a range.
template <class Part, class F>
void for_each_state(Part& part, const std::string& prefix, F& f) {
  if constexpr (std::ranges::range<Part>) {
    Index number = 0;
    for (auto& each : part) for_each_state(each, prefix + std::to_string(number++) + '.', f);
  } else {
    static_assert(Stateful<std::remove_const_t<Part>>,
                  "comet: this part has no state: it needs visit_state(f), the same as const, and "
                  "restored(); see Stateful in core/parameters.hpp");
    part.visit_state(
        [&](const ParameterName& name, auto values) { f(prefix + name.str(), values); });
  }
}

/// That a file has no part behind the last one of a range: a tensor by the name that a piece of any
/// of them would have there. Tensors of other names may be anybody's.
template <class Parts>
void check_no_more(const TensorFile& file, Parts& parts, const std::string& prefix) {
  const auto count = std::to_string(std::ranges::distance(parts));
  const auto check = [&](const std::string& name, auto) {
    if (file.find(name) != nullptr)
      file.refuse("tensor " + quoted_name(name) + " is of one more part than the " + count +
                  " that there are");
  };
  for (auto& part : parts) for_each_state(part, prefix + count + '.', check);
}

template <class Part>
void restored(Part& part) {
  if constexpr (std::ranges::range<Part>) {
    for (auto& each : part) restored(each);
  } else {
    part.restored();
  }
}

}  // namespace detail

/// \brief Sets the parameters of a model to those of a file; all, or none if the file is refused.
/// \param model   Parametric, of the sizes that the file has
/// \param prefix  of the names in the file; tensors with other beginnings are not looked at
/// \param others  names of tensors in the file that are not the model's
/// \throws FileError naming the first tensor that is missing, has other numbers (half precision is
///         widened) or another shape, or is none of the model's
template <class Model>
void load_parameters(const TensorFile& file, Model& model, const std::string& prefix = "",
                     const std::set<std::string>& others = {}) {
  detail::check_model<Model>();
  std::set<std::string> expected;
  for_each_parameter(std::as_const(model),
                     [&](const ParameterName& parameter_name, const auto& parameter) {
                       using S = typename std::remove_cvref_t<decltype(parameter)>::Scalar;
                       const std::string name = prefix + parameter_name.str();
                       const Tensor& tensor = file.tensor(name);
                       if (!detail::widens<S>(tensor)) file.check_dtype<S>(tensor);
                       if (detail::without_leading_ones(tensor.shape) !=
                           detail::without_leading_ones(parameter.shape()))
                         file.refuse("tensor " + detail::quoted_name(name) + " has shape " +
                                     detail::shape_text(tensor.shape) + ", expected " +
                                     detail::shape_text(parameter.shape()));
                       expected.insert(name);
                     });
  for (const Tensor& tensor : file.tensors())
    if (tensor.name.starts_with(prefix) && !expected.contains(tensor.name) &&
        !others.contains(tensor.name))
      file.refuse("tensor " + detail::quoted_name(tensor.name) + " is none of the model's");
  for_each_parameter(model, [&](const ParameterName& name, auto& parameter) {
    detail::copy_numbers(file.tensor(prefix + name.str()), parameter.data());
  });
}

/// \brief The state of an optimizer, a search or a gate, or of each part of a range, as tensors
/// named `prefix` + (for a range, a number and a dot) + the names of its pieces. Nothing is copied.
/// \param part  Stateful, or a range of such; must stay as it is while the tensors are used
template <class Part>
[[nodiscard]] std::vector<Tensor> state_tensors(const Part& part, const std::string& prefix) {
  std::vector<Tensor> tensors;
  const auto take = [&]<class T>(const std::string& name, std::span<T> values) {
    tensors.push_back(make_tensor<std::remove_const_t<T>>(name, {Index(values.size())}, values));
  };
  detail::for_each_state(part, prefix, take);
  return tensors;
}

/// \brief Sets the state of a part, or of each part of a range, to that of a file; all of it, or
/// nothing if the file is refused. Parameters may have the same prefix: of other tensors, only the
/// state of one part more than a range has is refused.
/// \throws FileError naming the first tensor that is missing, has other numbers or not as many, or
///         what cannot be the state of such a part
template <class Part>
void load_state(const TensorFile& file, Part& part, const std::string& prefix) {
  std::vector<std::byte> before;
  const auto check = [&]<class T>(const std::string& name, std::span<T> values) {
    const Tensor& tensor = file.tensor(name);
    file.check_dtype<T>(tensor);
    if (tensor.bytes.size() != values.size_bytes())
      file.refuse("tensor " + detail::quoted_name(name) + " has " +
                  std::to_string(tensor.bytes.size() / sizeof(T)) + " numbers, expected " +
                  std::to_string(values.size()));
    const auto bytes = std::as_bytes(values);
    before.insert(before.end(), bytes.begin(), bytes.end());
  };
  const auto copy = [](std::span<std::byte> to, const std::byte* from) {
    if (!to.empty()) std::memcpy(to.data(), from, to.size());
  };
  const auto set = [&](const std::string& name, auto values) {
    copy(std::as_writable_bytes(values), file.tensor(name).bytes.data());
  };
  const std::byte* next = nullptr;
  const auto set_back = [&](const std::string&, auto values) {
    copy(std::as_writable_bytes(values), next);
    next += values.size_bytes();
  };
  detail::for_each_state(part, prefix, check);
  if constexpr (std::ranges::range<Part>) detail::check_no_more(file, part, prefix);
  detail::for_each_state(part, prefix, set);
  try {
    detail::restored(part);
  } catch (const std::invalid_argument& error) {
    next = before.data();
    detail::for_each_state(part, prefix, set_back);
    detail::restored(part);
    file.refuse("the tensors " + detail::quoted_name(prefix + "*") +
                " are no state: " + error.what());
  }
}

}  // namespace comet
