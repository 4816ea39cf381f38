// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>

#include <comet/core/check.hpp>
#include <comet/core/number_text.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/hyperplanes.hpp>
#include <comet/kernels/dots.hpp>
#include <comet/kernels/portable/experts.hpp>
#include <comet/kernels/portable/soft_tree.hpp>
#include <comet/kernels/portable/text.hpp>
#include <comet/kernels/transposed_product.hpp>

/// \file
/// \brief The parts that emitted headers share, as text. Numbers are never written by a stream,
/// which would follow the locale.

namespace comet::detail {

/// How this build computes an inner product (kernels/dots.hpp): in two rows of so many partial
/// sums, see portable::dot().
struct DotOrder {
  bool fused;
  int last;
};

template <int last, bool fused, class S>
bool is_dot_order() {
  constexpr int width = int(lanes<S>);
  if constexpr (width < last) {
    return false;
  } else {
    bool same = true;
    for (Index size = 1; size <= 5 * width + 2; ++size) {
      Vector<S> w(size), x(size);
      RandomKey(0).fold(size).fill_uniform(w, -1, 1);
      RandomKey(1).fold(size).fill_uniform(x, -1, 1);
      const S* sample = x.data();
      S expected;
      dots(w.data(), size, &sample, 1, S(0.125), &expected);
      same =
          same && portable::dot<width, fused, last>(w.data(), x.data(), size, S(0.125)) == expected;
    }
    return same;
  }
}

/// \throws std::invalid_argument if this build sums in another order than portable::dot() can
template <class S>
DotOrder dot_order() {
  if (is_dot_order<1, true, S>()) return {true, 1};
  if (is_dot_order<4, true, S>()) return {true, 4};
  if (is_dot_order<1, false, S>()) return {false, 1};
  if (is_dot_order<4, false, S>()) return {false, 4};
  raise("emit_cpp", "this build sums inner products in an order that is not known here");
}

/// How this build computes the sums of products (kernels/transposed_product.hpp), see
/// portable::dot_units().
struct ProductOrder {
  bool fused;
  bool crossed;
};

template <bool fused, bool crossed, class S>
bool is_product_order() {
  constexpr int width = int(lanes<S>);
  for (Index size = 1; size <= 5 * width + 2; ++size) {
    Matrix<S> w(size, 1), x(size, 1), y(1, 1);
    RandomKey(0).fold(size).fill_uniform(w, -1, 1);
    RandomKey(1).fold(size).fill_uniform(x, -1, 1);
    transposed_product(w, x, y);
    S expected;
    portable::dot_units<width, fused, crossed, 1>(w.data(), size, x.data(), &expected);
    if (y(0) != expected) return false;
  }
  return true;
}

/// \throws std::invalid_argument if this build sums in another order than portable code can
template <class S>
ProductOrder product_order() {
  if (is_product_order<true, false, S>()) return {true, false};
  if (is_product_order<true, true, S>()) return {true, true};
  if (is_product_order<false, false, S>()) return {false, false};
  if (is_product_order<false, true, S>()) return {false, true};
  raise("emit_cpp", "this build sums products in an order that is not known here");
}

/// Writes what write(stream) writes, whole or, if it throws, not at all.
template <class Write>
void emit(std::ostream& out, Write write) {
  if (!out) raise("emit_cpp", "the stream cannot be written to: was its file opened?");
  std::ostringstream text;
  write(text);
  const std::string all = text.str();
  out.write(all.data(), std::streamsize(all.size()));
}

/// Text of an emitted header: arrays as exact numbers, and the code of the portable headers.
template <class S>
class CppWriter {
 public:
  CppWriter(std::ostream& out, const std::string& name, const std::string& what)
      : out_(out), name_(name) {
    check_name();
    *this << "// " << what << R"(.
// Written by comet::emit_cpp: an edit is lost when it is written again. C++17, no
// dependencies. Do not compile with -ffast-math, which changes sums.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#if defined(__FMA__)
#include <immintrin.h>
#endif

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "this header promises exact sums: compile it without -ffast-math"
#endif
// A product and a sum stay two operations unless std::fma says otherwise.
#if defined(__clang__)
#pragma float_control(push)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif

namespace )"
          << name_ << " {\n\n";
  }

  void end() {
    *this << "}  // namespace " << name_ << R"(

#if defined(__clang__)
#pragma float_control(pop)
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif
)";
  }

  CppWriter& operator<<(std::string_view text) {
    out_.write(text.data(), std::streamsize(text.size()));
    return *this;
  }

  template <class Value>
  void constant(std::string_view name, Value value) {
    *this << "inline constexpr " << (std::is_integral_v<Value> ? "int " : "Scalar ") << name
          << " = " << literal(value) << ";\n";
  }

  template <class Values>
  void array(std::string_view type, std::string_view name, const Values& values) {
    array_of(type, name, values, [](const auto& value, auto write) { write(value); });
  }
  /// The numbers of several things, one behind the other: each(thing, write) writes those of one.
  template <class Things, class Each>
  void array_of(std::string_view type, std::string_view name, const Things& things, Each each) {
    *this << "inline constexpr " << type << " " << name << "[] = {";
    Index i = 0;
    for (const auto& thing : things)
      each(thing, [&](const auto& value) {
        *this << (i++ % 8 == 0 ? "\n    " : " ") << literal(value) << ",";
      });
    *this << "};\n";
  }

  /// The numbers of some functions, if there are any.
  void planes(const std::string& name, const Hyperplanes<S>& planes) {
    if (planes.size() == 0) return;
    array("Scalar", name + "_weight", planes.weight().reshaped());
    if (planes.has_bias()) array("Scalar", name + "_bias", planes.bias().reshaped());
  }

  /// A member of the tables: a number.
  template <class Value>
  void member(std::string_view name, Value value) {
    *this << "  static constexpr "
          << (std::is_same_v<Value, bool> ? "bool "
              : std::is_integral_v<Value> ? "int "
                                          : "Scalar ")
          << name << " = " << literal(value) << ";\n";
  }
  /// The member of the tables that knows the shape of their trees.
  void shape(const portable::TreeShape& shape) {
    *this << "  static constexpr portable::TreeShape shape{" << literal(shape.num_leaves) << "};\n";
  }
  /// A member of the tables that evaluates one of some functions.
  void member(const std::string& name, const Hyperplanes<S>& planes) {
    *this << "  static Scalar " << name << "_logit(portable::Index"
          << (planes.size() == 0
                  ? ", const Scalar*) {\n    return 0;\n"
                  : " i, const Scalar* x) {\n    return dot(" + name +
                        "_weight + i * input_dim, x, " +
                        (planes.has_bias() ? name + "_bias[i]" : "Scalar(0)") + ");\n")
          << "  }\n";
  }

  /// The code that gates and experts are evaluated by.
  void portable_code() {
    *this << "namespace portable {\n" << portable::text << "\n}  // namespace portable\n\n";
  }

  /// What every gate begins with: sizes, and the inner product.
  void begin(Index input_dim, Index num_experts, Index max_entries) {
    *this << "using Scalar = " << (std::is_same_v<S, float> ? "float" : "double") << ";\n";
    constant("input_dim", input_dim);
    constant("num_experts", num_experts);
    constant("max_entries", max_entries);
    const DotOrder order = dot_order<S>();
    *this << "\nnamespace detail {\n\n"
          << "// In the order of the build that wrote this file.\n"
             "inline Scalar dot(const Scalar* w, const Scalar* x, Scalar bias) {\n"
             "  return portable::dot<"
          << literal(lanes<S>) << ", " << literal(order.fused) << ", " << literal(order.last)
          << ">(w, x, std::integral_constant<int, input_dim>(),\n                         "
             "bias);\n}\n\n";
  }

  /// Ends the tables and begins the function that every header ends with.
  void route() {
    *this
        << "};\n\n}  // namespace detail\n\n"
           "/// Routes one sample of input_dim numbers. Writes the experts, ascending, and their\n"
           "/// weights; both need room for max_entries.\n"
           "/// \\return the number of entries; -1 if x is not finite or a logit overflows\n"
           "inline int route(const Scalar* x, std::int32_t* experts, Scalar* weights) {\n"
           "  if (!portable::is_finite(x, input_dim)) return -1;\n"
           "  portable::Row<Scalar> row{experts, weights};\n"
           "  const auto add = [&row](portable::Index slot, Scalar weight) {\n"
           "    row.add(detail::expert_of_slot[slot], weight);\n"
           "  };\n";
  }

  /// A number as C++ has it, exactly.
  template <class Value>
  [[nodiscard]] static std::string literal(Value value) {
    if constexpr (std::is_same_v<Value, bool>) {
      return value ? "true" : "false";
    } else if constexpr (std::is_integral_v<Value>) {
      return std::to_string(value);
    } else {
      const double magnitude = std::abs(double(value));
      return (std::signbit(value) ? "-0x" : "0x") + number_text(magnitude, std::chars_format::hex) +
             (std::is_same_v<S, float> ? "f" : "");
    }
  }

 private:
  void check_name() const {
    constexpr std::string_view words =
        " alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t "
        "char32_t char8_t class co_await co_return co_yield compl concept const const_cast "
        "consteval constexpr constinit continue decltype default delete do double dynamic_cast "
        "else enum explicit export extern false float for friend goto if inline int long main "
        "mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected "
        "public register reinterpret_cast requires return short signed sizeof static "
        "static_assert static_cast std struct switch template this thread_local throw true try "
        "typedef typeid typename union unsigned using virtual void volatile wchar_t while xor "
        "xor_eq ";
    const auto is_letter = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    bool good = true;
    for (std::size_t first = 0; good;) {
      const std::size_t end = std::min(name_.find("::", first), name_.size());
      const std::string part = name_.substr(first, end - first);
      good = !part.empty() && is_letter(part[0]) && part.find("__") == std::string::npos &&
             words.find(' ' + part + ' ') == std::string_view::npos;
      for (const char c : part) good = good && (is_letter(c) || (c >= '0' && c <= '9'));
      if (end == name_.size()) break;
      first = end + 2;
    }
    if (!good) raise("emit_cpp", "name", '"' + name_ + '"', "a C++ namespace");
  }

  std::ostream& out_;
  std::string name_;
};

}  // namespace comet::detail
