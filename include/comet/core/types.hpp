// SPDX-License-Identifier: MIT
#pragma once

#include <Eigen/Core>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

/// \file
/// \brief Sizes, matrices and views. One sample per column, everywhere.
///
/// Eigen's default storage is column-major, so a d x B matrix with one sample per column has the
/// memory of a C-order array of shape (B, d) in NumPy or PyTorch: both sides can share it. Weights
/// follow the same rule: one output unit per column (in x out), the memory of a C-order (out, in).

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error \
    "comet: -ffast-math (-ffinite-math-only) removes the checks for nan and infinity, and with \
them the promise that a training which diverges says so: compile without it"
#endif
#if !defined(__cpp_exceptions)
#error "comet: errors are exceptions: compile without -fno-exceptions"
#endif

namespace comet {

using Index = Eigen::Index;     ///< sizes and positions
using ExpertId = std::int32_t;  ///< number of an expert, 0..n-1
using SampleId = std::int32_t;  ///< number of a sample in its batch, 0..B-1

/// A column-major matrix of any size.
template <class S>
using Matrix = Eigen::Matrix<S, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;
template <class S>
using Vector = Eigen::Matrix<S, Eigen::Dynamic, 1, Eigen::ColMajor>;  ///< A column of any size.

namespace detail {

template <class T, Index size>
struct VectorType {
  typedef T type __attribute__((vector_size(std::size_t(size) * sizeof(T))));  // NOLINT
};

/// A vector of `size` numbers as a compiler extension, for types that Eigen has no packets of.
template <class T, Index size>
using VectorOf = typename VectorType<T, size>::type;

template <class T>
concept EigenDense =
    std::derived_from<std::remove_cvref_t<T>, Eigen::DenseBase<std::remove_cvref_t<T>>>;

/// Memory that a column-major view can describe: unit stride down a column, or no memory at all
/// (an expression, which has to be evaluated anyway).
template <class D>
inline constexpr bool is_viewable =
    !(int(D::Flags) & Eigen::DirectAccessBit) ||
    ((!(int(D::Flags) & Eigen::RowMajorBit) || D::IsVectorAtCompileTime) &&
     int(D::InnerStrideAtCompileTime) == 1);

/// An argument that is gone when the call has returned: an expression, whose value is made for the
/// call, or a matrix without a name. For what is looked at later.
template <class X>
concept Fleeting = EigenDense<X> &&
    (!(int(std::remove_cvref_t<X>::Flags) & Eigen::DirectAccessBit) ||
     (!std::is_lvalue_reference_v<X> &&
      std::derived_from<std::remove_cvref_t<X>, Eigen::PlainObjectBase<std::remove_cvref_t<X>>>));

/// Stands for an argument that was refused: the compiler goes on after a static_assert, and Eigen
/// would add pages of its own. Never defined.
template <class M>
M& refused();

template <class S, class D>
constexpr decltype(auto) viewable(const D& x) {
  constexpr bool right_scalar = std::is_same_v<typename D::Scalar, S>;
  static_assert(right_scalar,
                "comet: the scalar type of this matrix differs from the model's (float or double); "
                "convert it with .cast<S>()");
  static_assert(is_viewable<D>,
                "comet: one sample per column in column-major storage, please: a row-major, "
                "transposed or strided matrix would have to be copied. A C-order (B, d) array is a "
                "d x B Eigen::Map without a copy");
  if constexpr (right_scalar && is_viewable<D>) {
    return (x);
  } else {
    return refused<const Matrix<S>>();
  }
}

template <class S, bool is_temporary, class D>
constexpr decltype(auto) writable(D& x) {
  constexpr bool right_scalar = std::is_same_v<typename D::Scalar, S>;
  constexpr bool is_writable = (int(D::Flags) & Eigen::LvalueBit) && is_viewable<D>;
  constexpr bool is_kept =
      !(is_temporary && std::derived_from<D, Eigen::PlainObjectBase<std::remove_const_t<D>>>);
  static_assert(right_scalar,
                "comet: the scalar type of this output differs from the model's (float or double)");
  static_assert(is_writable,
                "comet: an output must be a writable column-major matrix, block or map");
  static_assert(is_kept,
                "comet: this output is a temporary matrix, and what is written to it is lost: pass "
                "one with a name (an empty one for a gradient that is not wanted)");
  if constexpr (right_scalar && is_writable && is_kept) {
    return (x);
  } else {
    return refused<Matrix<S>>();
  }
}

}  // namespace detail

/// \brief Read-only view of a column-major matrix: an Eigen matrix, map or block as it stands, or
/// the value of an expression. Row-major memory is refused at compile time, never copied silently.
template <class S>
class ConstMatrixView : public Eigen::Ref<const Matrix<S>, 0, Eigen::OuterStride<>> {
  using Base = Eigen::Ref<const Matrix<S>, 0, Eigen::OuterStride<>>;

 public:
  /// A view of a matrix, map or block, or the value of an expression.
  template <class D>
  ConstMatrixView(const Eigen::DenseBase<D>& x)  // NOLINT: conversion is the purpose
      : Base(detail::viewable<S>(x.derived())) {}
};

/// \brief "Not wanted", for a gradient that would be added to: `layer.backward(x, dy, no_gradient,
/// pass)` saves its cost. An empty matrix means the same.
struct NoGradient {};
inline constexpr NoGradient no_gradient = {};  ///< The one of its kind.

/// \brief Writable view of a column-major matrix, block or map that the caller has sized.
template <class S>
class MatrixView : public Eigen::Ref<Matrix<S>, 0, Eigen::OuterStride<>> {
  using Base = Eigen::Ref<Matrix<S>, 0, Eigen::OuterStride<>>;

 public:
  /// A view of a matrix, block or map that lives on.
  template <detail::EigenDense D>
  requires(!std::is_const_v<std::remove_reference_t<D>> &&
           !std::same_as<std::remove_cvref_t<D>, MatrixView>)
      MatrixView(D&& x)  // NOLINT: conversion is the purpose
      : Base(detail::writable<S, !std::is_lvalue_reference_v<D>>(x)) {}
  /// A view of nothing.
  MatrixView(NoGradient) : Base(Eigen::Map<Matrix<S>>(nullptr, 0, 0)) {}  // NOLINT

  using Base::operator=;
};

/// \brief A tensor as a matrix with one sample per column, without a copy.
///
/// Rank 2 (features x samples) and rank 3 (features x sequence x batch, read as features x
/// (sequence * batch)) of `Eigen::Tensor` or `Eigen::TensorMap`, column-major.
template <class Tensor>
requires requires(Tensor& t) {
  t.data();
  t.dimension(0);
  Tensor::NumDimensions;
}
[[nodiscard]] auto as_matrix(Tensor& tensor) {
  static_assert(Tensor::NumDimensions == 2 || Tensor::NumDimensions == 3,
                "comet::as_matrix: a tensor of rank 2 (features x samples) or 3 "
                "(features x sequence x batch)");
  static_assert(int(Tensor::Layout) == int(Eigen::ColMajor),
                "comet::as_matrix: a column-major tensor; a row-major one would be copied");
  using Scalar = std::remove_const_t<std::remove_pointer_t<decltype(tensor.data())>>;
  using Plain = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(tensor.data())>>,
                                   const Matrix<Scalar>, Matrix<Scalar>>;
  Index columns = tensor.dimension(1);
  if constexpr (Tensor::NumDimensions == 3) columns *= tensor.dimension(2);
  return Eigen::Map<Plain>(tensor.data(), tensor.dimension(0), columns);
}

}  // namespace comet
