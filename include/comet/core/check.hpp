// SPDX-License-Identifier: MIT
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <iomanip>
#include <limits>
#include <locale>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include <comet/core/errors.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief Argument checks: one cold function builds every message, so that a check costs a compare.
///
/// Text form: `comet::CometGate::route: x.rows() is 3, expected input_dim = 4`.

namespace comet::detail {

[[noreturn, gnu::cold, gnu::noinline]] inline void raise(std::string_view where,
                                                         const std::string& what) {
  throw std::invalid_argument("comet::" + std::string(where) + ": " + what);
}

/// The value as text, independent of the locale. A number that is not whole but would be rounded to
/// one is written in full: 1.0000002 does not become "1".
template <class Value>
std::string shown(const Value& value) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << value;
  if constexpr (std::is_floating_point_v<Value>) {
    if (std::isfinite(value) && value != std::round(value) &&
        text.str().find_first_of(".e") == std::string::npos) {
      text.str("");
      text << std::setprecision(std::numeric_limits<Value>::max_digits10) << value;
    }
  }
  return text.str();
}

template <class Value>
[[noreturn, gnu::cold, gnu::noinline]] void raise(std::string_view where, std::string_view name,
                                                  const Value& value,
                                                  const std::string& expectation) {
  raise(where, std::string(name) + " is " + shown(value) + ", expected " + expectation);
}

inline void check_equal(std::string_view where, std::string_view name, Index value,
                        std::string_view bound_name, Index bound) {
  if (value != bound) [[unlikely]]
    raise(where, name, value, std::string(bound_name) + " = " + std::to_string(bound));
}

inline void check_at_least(std::string_view where, std::string_view name, Index value,
                           Index bound) {
  if (value < bound) [[unlikely]]
    raise(where, name, value, "at least " + std::to_string(bound));
}

inline void check_at_most(std::string_view where, std::string_view name, Index value,
                          std::string_view bound_name, Index bound) {
  if (value > bound) [[unlikely]]
    raise(where, name, value, "at most " + std::string(bound_name) + " = " + std::to_string(bound));
}

inline void check_index(std::string_view where, std::string_view name, Index value,
                        std::string_view bound_name, Index bound) {
  if (value < 0 || value >= bound) [[unlikely]]
    raise(where, name, value,
          "at least 0 and below " + std::string(bound_name) + " = " + std::to_string(bound));
}

/// Ids that ascend strictly, from 0 on and below a bound.
/// \param name  called for what one of them is, if it is refused
template <class Ids, class Name>
void check_ascending(std::string_view where, const Ids& ids, std::string_view bound_name,
                     Index bound, Name name) {
  Index previous = -1;
  for (const auto id : ids) {
    if (id <= previous || id >= bound) [[unlikely]]
      raise(where, name(), id,
            "above " + std::to_string(previous) + " and below " + std::string(bound_name) + " = " +
                std::to_string(bound));
    previous = id;
  }
}

/// A task whose routing a pass is asked for: it has one of each after its first batch.
inline void check_task(std::string_view where, Index task, Index num_tasks) {
  if (num_tasks == 0) [[unlikely]]
    raise(where, "the pass holds no batch; call forward() or predict() first");
  check_index(where, "task", task, "num_tasks", num_tasks);
}

inline void check_positive(std::string_view where, std::string_view name, double value) {
  if (!(value > 0 && std::isfinite(value))) [[unlikely]]
    raise(where, name, value, "a finite number > 0");
}

inline void check_not_negative(std::string_view where, std::string_view name, double value) {
  if (!(value >= 0 && std::isfinite(value))) [[unlikely]]
    raise(where, name, value, "a finite number >= 0");
}

/// \param limit  one of type S, in words: `at most the largest`
template <class S>
[[noreturn]] void raise_beyond_range(std::string_view where, std::string_view name, double value,
                                     std::string_view limit, S bound) {
  raise(
      where, name, value,
      std::string(limit) + (std::is_same_v<S, float> ? " float = " : " double = ") + shown(bound));
}

/// A number of an option that will be one of type S: beyond its range it would be infinite.
template <class S>
void check_fits(std::string_view where, std::string_view name, double value) {
  constexpr S most = std::numeric_limits<S>::max();
  if (!(std::abs(value) <= double(most))) [[unlikely]]
    raise_beyond_range(where, name, value, "at most the largest", most);
}

/// An option > 0 that will be a number of type S: it must not be infinite or next to 0 there.
template <class S>
void check_positive_as(std::string_view where, std::string_view name, double value) {
  check_positive(where, name, value);
  check_fits<S>(where, name, value);
  constexpr S least = std::numeric_limits<S>::min();
  if (value < double(least)) [[unlikely]]
    raise_beyond_range(where, name, value, "at least the smallest", least);
}

/// An option >= 0 that will be a number of type S.
template <class S>
void check_not_negative_as(std::string_view where, std::string_view name, double value) {
  check_not_negative(where, name, value);
  check_fits<S>(where, name, value);
}

/// A probability that may be 0 but not 1: dropout rates, decay rates.
inline void check_rate(std::string_view where, std::string_view name, double value) {
  if (!(value >= 0 && value < 1)) [[unlikely]]
    raise(where, name, value, "in [0, 1)");
}

/// The same of an option that will be a number of type S, which may round it to 1.
template <class S>
void check_rate_as(std::string_view where, std::string_view name, double value) {
  check_rate(where, name, value);
  if (!(S(value) < S(1))) [[unlikely]]
    raise(where, name, value, "below 1 as a float");
}

/// Whether two views of column-major matrices have a number in common. Blocks of rows of one matrix,
/// whose columns alternate in memory, have none.
template <class A, class B>
[[nodiscard]] bool overlap(const A& a, const B& b) {
  if (a.size() == 0 || b.size() == 0) return false;
  constexpr Index size = sizeof(typename A::Scalar);
  // As numbers: pointers into different arrays have no order.
  const auto first_a = reinterpret_cast<std::uintptr_t>(a.data());
  const auto first_b = reinterpret_cast<std::uintptr_t>(b.data());
  const auto bytes = [](const auto& view) {
    return std::uintptr_t(((view.cols() - 1) * view.outerStride() + view.rows()) * size);
  };
  if (first_a >= first_b + bytes(b) || first_b >= first_a + bytes(a)) return false;
  const Index stride = a.cols() > 1 ? a.outerStride() : b.outerStride();
  if (b.cols() > 1 && b.outerStride() != stride) return true;
  if (stride == 0) return true;
  // Where a column of a begins, counted from the column of b before it.
  const Index distance = Index(first_a - first_b) / size % stride;
  const Index begin = distance < 0 ? distance + stride : distance;
  return begin < b.rows() || begin + a.rows() > stride;
}

/// What is added to must not be what is read: `dx`, where `x` is wanted until the end.
template <class A, class B>
void check_apart(std::string_view where, std::string_view a_name, const A& a,
                 std::string_view b_name, const B& b) {
  if (overlap(a, b)) [[unlikely]]
    raise(where, std::string(a_name) + " overlaps " + std::string(b_name) +
                     ", expected memory of its own");
}

/// A gradient by x that is added to, of the shape of x and apart from it; empty if it is not wanted.
template <class DX, class X>
void check_input_gradient(std::string_view where, const DX& dx, const X& x) {
  if (dx.size() == 0) return;
  check_equal(where, "dx.rows()", dx.rows(), "x.rows()", x.rows());
  check_equal(where, "dx.cols()", dx.cols(), "x.cols()", x.cols());
  check_apart(where, "dx", dx, "x", x);
}

[[noreturn, gnu::cold, gnu::noinline]] inline void raise_not_finite(std::string_view where,
                                                                    std::string_view tensor,
                                                                    std::string_view what) {
  throw NotFinite(where, tensor, what);
}

/// Names the first element of a column that is nan or infinite, if there is one.
template <class X>
[[gnu::cold, gnu::noinline]] void raise_not_finite_at(std::string_view where, std::string_view name,
                                                      const X& x, Index column) {
  for (Index i = 0; i < x.rows(); ++i) {
    const auto value = x(i, column);
    if (std::isfinite(value)) continue;
    const char* text = std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
    raise_not_finite(
        where, std::string(name) + "(" + std::to_string(i) + ", " + std::to_string(column) + ")",
        std::string("is ") + text + ", expected a finite number");
  }
}

/// Whether no number is nan or infinite: x * 0 is 0 for finite x and nan otherwise, which costs one
/// multiply-add per number and no branch, vectorised. In loops with other work it is written out.
template <class X>
[[nodiscard]] EIGEN_ALWAYS_INLINE bool all_finite(const Eigen::ArrayBase<X>& x) {
  using S = typename X::Scalar;
  return (x.derived() * S(0)).sum() == S(0);
}

/// Names the first element that is nan or infinite. Cost: one pass.
template <class S>
void check_finite(std::string_view where, std::string_view name, const ConstMatrixView<S>& x) {
  bool finite = true;
  for (Index b = 0; b < x.cols(); ++b) finite = finite && all_finite(x.col(b).array());
  if (finite) [[likely]]
    return;
  for (Index b = 0; b < x.cols(); ++b) raise_not_finite_at(where, name, x, b);
}

}  // namespace comet::detail
