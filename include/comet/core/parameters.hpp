// SPDX-License-Identifier: MIT
#pragma once

#include <initializer_list>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/storage.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief The one hook by which optimizers, files, gradient checks and counters see a model.
///
/// A part offers `visit(f) const` and calls `f(name, child)` for what it is made of, always in the
/// same order: parameters, other parts, or vectors of parts. `for_each_parameter(model, f)` walks
/// down to the parameters. Everything that keeps numbers about parameters (gradients, moments of
/// an optimizer) keeps them by that order and checks the sizes; nothing is ever looked up by
/// address, so models can be copied and moved.

namespace comet {

/// \brief Dotted name of a tensor (`experts.3.weight`), built without allocation.
///
/// A link points to the rest of the name on the caller's stack: keep the `str()`, not the object.
class ParameterName {
 public:
  /// A name by itself.
  ParameterName(const char* leaf) noexcept : part_(leaf) {}  // NOLINT: f("weight", ...)
  /// A name by itself.
  ParameterName(std::string_view leaf) noexcept : part_(leaf) {}  // NOLINT
  /// `group.rest`.
  ParameterName(std::string_view group, const ParameterName& rest) noexcept
      : part_(group), rest_(&rest) {}
  /// `group.number`.
  ParameterName(std::string_view group, Index number) noexcept : part_(group), number_(number) {}
  /// `group.number.rest`.
  ParameterName(std::string_view group, Index number, const ParameterName& rest) noexcept
      : part_(group), number_(number), rest_(&rest) {}

  /// Its first part: the whole name if it is a leaf.
  [[nodiscard]] std::string_view head() const noexcept { return part_; }

  /// The whole name.
  [[nodiscard]] std::string str() const {
    std::string text(part_);
    if (number_ >= 0) text += '.' + std::to_string(number_);
    if (rest_ != nullptr) text += '.' + rest_->str();
    return text;
  }

 private:
  std::string_view part_;
  Index number_ = -1;
  const ParameterName* rest_ = nullptr;
};

/// \brief A tensor of trainable numbers: a matrix that knows its shape. Gradients are elsewhere,
/// see Gradients.
///
/// The matrix is column-major with the last axis of the shape, the one whose neighbours are
/// neighbours in memory, down its columns: a weight of `in x out` has the shape [out, in], a column
/// of n biases [n], filters [out, height, width, in] are `in x (width * height * out)`.
///
/// \tparam Storage  what a number is kept as; parts compute in their own Scalar
template <class Storage>
class Parameter : public Matrix<Storage> {
  static_assert(detail::StorageType<Storage>,
                "comet: the scalar type is float or double; a part that only predicts may keep "
                "bfloat16 or 8 bits");

 public:
  /// Nothing yet.
  Parameter() = default;
  /// A matrix of zeros of shape [cols, rows].
  Parameter(Index rows, Index cols) : Parameter({cols, rows}) {}
  /// Zeros. \param shape  C order, rank 1 to 4, e.g. [out] for biases
  Parameter(std::initializer_list<Index> shape) : shape_(shape) {
    const Index rows = shape_.back();
    Index cols = 1;
    for (std::size_t axis = 0; axis + 1 < shape_.size(); ++axis) cols *= shape_[axis];
    this->setZero(rows, cols);
  }

  /// Numbers of the same size; the shape stays.
  template <class D>
  Parameter& operator=(const Eigen::EigenBase<D>& values) {
    Matrix<Storage>::operator=(values.derived());
    return *this;
  }

  /// Sizes of the axes in C order: neighbours in memory differ in the last one.
  [[nodiscard]] const std::vector<Index>& shape() const noexcept { return shape_; }

 private:
  std::vector<Index> shape_;
};

namespace detail {

template <class T>
inline constexpr bool is_parameter = false;
template <class Storage>
inline constexpr bool is_parameter<Parameter<Storage>> = true;

struct AnyChildVisitor {
  template <class Child>
  void operator()(const ParameterName&, const Child&) const {}
};

}  // namespace detail

/// \brief Is made of parameters: visit(f) calls f(name, child) once per child, in the same order
/// every time. A child is a Parameter, a part, or a range of parts.
template <class P>
concept Parametric =
    !detail::is_parameter<P> && requires(const P& part, detail::AnyChildVisitor f) {
  part.visit(f);
};

namespace detail {

/// \brief What optimizers, files and gradients ask of the model that they are given: a visit() that
/// they can call, or to be a part of no parameters, which runs in a Pass or is an expert. Any other
/// is a model whose visit() has been forgotten: it would be left as it is without a word.
template <class Model>
constexpr void check_model() {
  constexpr bool runs_in_pass = requires { typename Model::Workspace; };
  constexpr bool is_expert = requires(const Model& model) { model.cache_dim(); };
  constexpr bool not_const = !Parametric<Model> && requires(Model & model, AnyChildVisitor f) {
    model.visit(f);
  };
  static_assert(!not_const,
                "comet: the visit(f) of this model is not const, and its parameters would not be "
                "seen: it has to be `void visit(F&& f) const`");
  static_assert(Parametric<Model> || not_const || runs_in_pass || is_expert,
                "comet: this model has no `visit(f) const`, and its parameters would not be seen: "
                "it calls f(name, child) for each part that the model is made of");
}

}  // namespace detail

/// \brief Calls f(name, parameter) for every tensor below `part`: Parameter<Storage>&, const if the
/// part is. A part without visit() has none.
template <class Part, class F>
void for_each_parameter(Part& part, F&& f) {
  using Bare = std::remove_const_t<Part>;
  if constexpr (Parametric<Bare>) {
    std::as_const(part).visit([&f](const ParameterName& name, const auto& constant) {
      using Child = std::remove_cvref_t<decltype(constant)>;
      // visit() is const; what a part that is not const is made of may be changed.
      using Here = std::conditional_t<std::is_const_v<Part>, const Child, Child>;
      auto& child = const_cast<Here&>(constant);
      static_assert(!detail::EigenDense<Child> || detail::is_parameter<Child>,
                    "comet: visit() calls f(name, child) with a Parameter, a part or a range of "
                    "parts; a plain matrix is none of them");
      if constexpr (detail::is_parameter<Child>) {
        f(name, child);
      } else if constexpr (std::ranges::range<Child>) {
        Index number = 0;
        for (auto& each : child) {
          if constexpr (detail::is_parameter<std::remove_cvref_t<decltype(each)>>) {
            f(ParameterName(name.head(), number), each);
          } else {
            for_each_parameter(each, [&](const ParameterName& rest, auto& parameter) {
              f(ParameterName(name.head(), number, rest), parameter);
            });
          }
          ++number;
        }
      } else {
        for_each_parameter(child, [&](const ParameterName& rest, auto& parameter) {
          f(ParameterName(name.head(), rest), parameter);
        });
      }
    });
  }
}

/// \brief Number of trainable values of a model.
template <class Model>
[[nodiscard]] Index count_parameters(const Model& model) {
  Index count = 0;
  for_each_parameter(model, [&](const ParameterName&, const auto& p) { count += p.size(); });
  return count;
}

/// \brief Number of tensors of a model, or of a range of parts.
template <class Model>
[[nodiscard]] Index count_tensors(const Model& model) {
  Index count = 0;
  if constexpr (std::ranges::range<Model>) {
    for (const auto& part : model) count += count_tensors(part);
  } else {
    for_each_parameter(model, [&](const ParameterName&, const auto&) { ++count; });
  }
  return count;
}

namespace detail {

struct AnyStateVisitor {
  template <class Values>
  void operator()(const ParameterName&, Values) const {}
};

}  // namespace detail

/// \brief Has state that training changes and that is no parameter: moments, counts, permutations.
///
/// visit_state(f) calls f(name, values), values being a std::span of float, double, std::int32_t or
/// std::int64_t, once per piece and in the same order every time; for a const part they are const.
/// Whoever has written other numbers there calls restored(), which takes them over, or throws
/// std::invalid_argument if they cannot be the state of such a part. io/safetensors.hpp saves and
/// loads anything of this kind.
template <class T>
concept Stateful = requires(T& part, const T& read, detail::AnyStateVisitor f) {
  part.visit_state(f);
  read.visit_state(f);
  part.restored();
};

namespace detail {

/// Whether a part has state. One that has half of what is asked for does not compile, for its state
/// would be left out of checkpoints without a word.
template <class T>
[[nodiscard]] constexpr bool has_state() {
  static_assert(
      Stateful<T> || !requires(T & part, AnyStateVisitor f) { part.visit_state(f); },
      "comet: this part has visit_state(f), but not all of Stateful: it needs "
      "visit_state(f), the same as const, and restored()");
  return Stateful<T>;
}

}  // namespace detail

}  // namespace comet
