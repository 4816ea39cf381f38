// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/detail/frozen.hpp>
#include <comet/kernels/dots.hpp>

/// \file
/// \brief The parts that emitted headers share, as text.

namespace comet::detail {

/// How this build computes an inner product (detail/dots.hpp): in two rows of `lanes` partial sums.
struct DotOrder {
  Index lanes;
  bool fused;  ///< multiply and add with one rounding
  Index last;  ///< lanes are halved down to these: 1, or 4 that are added as neighbours
};

/// The inner product that the emitted header has, in the same words.
template <class S>
S plain_dot(DotOrder order, const S* w, const S* x, Index size, S bias) {
  std::vector<S> even(std::size_t(order.lanes)), odd(std::size_t(order.lanes));
  const auto multiply_add = [&](S a, S b, S c) {
    return order.fused ? std::fma(a, b, c) : a * b + c;
  };
  Index l = 0;
  for (; l + 2 * order.lanes <= size; l += 2 * order.lanes)
    for (Index i = 0; i < order.lanes; ++i) {
      const Index m = l + i + order.lanes;
      even[std::size_t(i)] = multiply_add(w[l + i], x[l + i], even[std::size_t(i)]);
      odd[std::size_t(i)] = multiply_add(w[m], x[m], odd[std::size_t(i)]);
    }
  for (; l < size; l += order.lanes)
    for (Index i = 0; i < order.lanes; ++i) {
      const S wi = l + i < size ? w[l + i] : S(0);
      const S xi = l + i < size ? x[l + i] : S(0);
      even[std::size_t(i)] = multiply_add(wi, xi, even[std::size_t(i)]);
    }
  for (std::size_t i = 0; i < even.size(); ++i) even[i] += odd[i];
  for (auto half = std::size_t(order.lanes / 2); half >= std::size_t(order.last); half /= 2)
    for (std::size_t i = 0; i < half; ++i) even[i] += even[i + half];
  if (order.last == 4) return ((even[0] + even[1]) + (even[2] + even[3])) + bias;
  return even[0] + bias;
}

/// \throws std::invalid_argument if this build sums in another order than plain_dot() can
template <class S>
DotOrder dot_order() {
  constexpr Index lanes = Eigen::internal::packet_traits<S>::size;
  for (const DotOrder order : {DotOrder{lanes, true, 1}, DotOrder{lanes, true, 4},
                               DotOrder{lanes, false, 1}, DotOrder{lanes, false, 4}}) {
    if (lanes < order.last) continue;
    bool same = true;
    for (Index size = 1; size <= 5 * lanes + 2; ++size) {
      Vector<S> w(size), x(size);
      RandomKey(0).fold(size).fill_uniform(w, -1, 1);
      RandomKey(1).fold(size).fill_uniform(x, -1, 1);
      const S* sample = x.data();
      S expected;
      dots(w.data(), size, &sample, 1, S(0.125), &expected);
      same = same && plain_dot(order, w.data(), x.data(), size, S(0.125)) == expected;
    }
    if (same) return order;
  }
  raise("emit_cpp", "this build sums inner products in an order that is not known here");
}

/// Text of an emitted header: arrays as exact numbers, and the parts that gates share.
template <class S>
class CppWriter {
 public:
  CppWriter(std::ostream& out, const std::string& name, const std::string& what)
      : out_(out), name_(name) {
    check_name();
    out_ << "// " << what
         << ".\n"
            "// Written by comet::emit_cpp: an edit is lost when the gate is written again. C++17, "
            "no\n"
            "// dependencies. Do not compile with -ffast-math, which changes sums.\n"
            "#pragma once\n\n"
            "#include <algorithm>\n"
            "#include <cmath>\n"
            "#include <cstdint>\n"
            "#include <limits>\n\n"
            "#if defined(__FAST_MATH__)\n"
            "#error \"this header promises exact sums: compile it without -ffast-math\"\n"
            "#endif\n"
            "// A product and a sum stay two operations unless std::fma says otherwise.\n"
            "#if defined(__GNUC__) && !defined(__clang__)\n"
            "#pragma GCC push_options\n"
            "#pragma GCC optimize(\"fp-contract=off\")\n"
            "#endif\n\n"
            "namespace "
         << name_ << " {\n\n";
  }

  void end() {
    out_ << "}  // namespace " << name_
         << "\n\n"
            "#if defined(__GNUC__) && !defined(__clang__)\n"
            "#pragma GCC pop_options\n"
            "#endif\n";
  }

  CppWriter& operator<<(std::string_view text) {
    out_ << text;
    return *this;
  }

  void constant(const char* name, Index value) {
    out_ << "inline constexpr int " << name << " = " << value << ";\n";
  }
  void constant(const char* name, S value) {
    out_ << "inline constexpr Scalar " << name << " = " << literal(value) << ";\n";
  }

  template <class Values>
  void array(const char* type, const char* name, const Values& values) {
    out_ << "inline constexpr " << type << ' ' << name << "[] = {";
    Index i = 0;
    for (const auto value : values) {
      out_ << (i++ % 8 == 0 ? "\n    " : " ");
      if constexpr (std::is_integral_v<std::remove_cvref_t<decltype(value)>>) {
        out_ << value;
      } else {
        out_ << literal(value);
      }
      out_ << ',';
    }
    out_ << "};\n";
  }

  void planes(const std::string& name, const FrozenPlanes<S>& planes) {
    array("Scalar", (name + "_weight").c_str(), planes.weight().reshaped());
    array("Scalar", (name + "_bias").c_str(), planes.bias().reshaped());
  }

  void sizes(Index input_dim, Index num_experts, Index max_entries) {
    out_ << "using Scalar = " << (std::is_same_v<S, float> ? "float" : "double") << ";\n";
    constant("input_dim", input_dim);
    constant("num_experts", num_experts);
    constant("max_entries", max_entries);
  }

  /// dot(), and is_finite() for inputs.
  void dot() {
    const DotOrder order = dot_order<S>();
    out_ << "// Inner products in the order of the build that wrote this file.\n"
            "inline constexpr int lanes = "
         << order.lanes << ";\ninline constexpr int last = " << order.last << ";\n\n"
         << "inline Scalar multiply_add(Scalar a, Scalar b, Scalar c) {\n"
         << (order.fused ? "  return std::fma(a, b, c);\n"
                         : "#if defined(__clang__)\n"
                           "#pragma STDC FP_CONTRACT OFF\n"
                           "#endif\n"
                           "  return a * b + c;\n")
         << R"(}

inline Scalar dot(const Scalar* w, const Scalar* x, Scalar bias) {
  Scalar even[lanes] = {};
  Scalar odd[lanes] = {};
  int l = 0;
  for (; l + 2 * lanes <= input_dim; l += 2 * lanes)
    for (int i = 0; i < lanes; ++i) {
      even[i] = multiply_add(w[l + i], x[l + i], even[i]);
      odd[i] = multiply_add(w[l + lanes + i], x[l + lanes + i], odd[i]);
    }
  for (; l < input_dim; l += lanes)
    for (int i = 0; i < lanes; ++i) {
      const bool inside = l + i < input_dim;
      even[i] = multiply_add(inside ? w[l + i] : 0, inside ? x[l + i] : 0, even[i]);
    }
  for (int i = 0; i < lanes; ++i) even[i] += odd[i];
  for (int half = lanes / 2; half >= last; half /= 2)
    for (int i = 0; i < half; ++i) even[i] += even[i + half];
)"
         << (order.last == 4 ? "  return ((even[0] + even[1]) + (even[2] + even[3])) + bias;\n"
                             : "  return even[0] + bias;\n")
         << R"(}

inline bool is_finite(const Scalar* x) {
  for (int l = 0; l < input_dim; ++l)
    if (!std::isfinite(x[l])) return false;
  return true;
}

)";
  }

  void smooth_step() {
    out_ << R"(inline Scalar smooth_step(Scalar t) {
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
  const Scalar half = gamma / 2;
  if (t <= -half) return 0;
  if (t >= half) return 1;
  const Scalar u = t / gamma;
  const Scalar v = Scalar(0.5) - std::abs(u);
  const Scalar tail = v * v * (3 - 2 * v);
  return u < 0 ? tail : 1 - tail;
}

)";
  }

  /// Row: weights under their experts, in ascending order; equal experts are added in the order in
  /// which they come.
  void row() {
    out_ << R"(struct Row {
  std::int32_t* experts;
  Scalar* weights;
  int size = 0;

  void add(std::int32_t expert, Scalar weight) {
    int place = size;
    while (place > 0 && experts[place - 1] > expert) --place;
    if (place > 0 && experts[place - 1] == expert) {
      weights[place - 1] += weight;
      return;
    }
    for (int i = size++; i > place; --i) {
      experts[i] = experts[i - 1];
      weights[i] = weights[i - 1];
    }
    experts[place] = expert;
    weights[place] = weight;
  }
};

)";
  }

  /// What stands before the function that every header ends with.
  void route_comment() {
    out_ << "/// Routes one sample of input_dim numbers. Writes the experts, ascending, and their\n"
            "/// weights; both need room for max_entries.\n"
            "/// \\return the number of entries; -1 if x is not finite or a logit overflows\n"
            "inline int route(const Scalar* x, std::int32_t* experts, Scalar* weights) {\n";
  }

 private:
  static std::string literal(S value) {
    std::array<char, 64> text;
    std::snprintf(text.data(), text.size(), "%a%s", static_cast<double>(value),
                  std::is_same_v<S, float> ? "f" : "");
    return text.data();
  }

  void check_name() const {
    bool good = !name_.empty() && (std::isalpha(static_cast<unsigned char>(name_[0])) != 0);
    for (const char c : name_)
      good = good && (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == ':');
    if (!good) raise("emit_cpp", "name", '"' + name_ + '"', "a C++ namespace");
  }

  std::ostream& out_;
  std::string name_;
};

template <class S>
std::string emitted_title(const char* gate, Index input_dim, Index num_experts, Index k) {
  return std::string("Routing of one sample by ") + gate + ": " + std::to_string(input_dim) +
         " inputs, " + std::to_string(num_experts) + " experts, k = " + std::to_string(k);
}

}  // namespace comet::detail
