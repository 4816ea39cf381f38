// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <comet/detail/check.hpp>
#include <comet/detail/dots.hpp>
#include <comet/gates/hash.hpp>
#include <comet/inference/frozen_comet_gate.hpp>
#include <comet/inference/frozen_dselect_k_gate.hpp>
#include <comet/inference/frozen_top_k_gate.hpp>
#include <comet/random.hpp>
#include <comet/types.hpp>

/// \file
/// \brief Writes a frozen gate as a C++17 header that needs nothing but the standard library.

namespace comet {

/// How the header is to be written.
struct EmitCppOptions {
  std::string name = "gate";  ///< namespace of what is written, an identifier or several with `::`
};

namespace detail {

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

}  // namespace detail

/// \brief Writes the gate as a C++17 header that routes one sample to the same bits, for programs
/// that have no place for a library.
///
/// In namespace options.name the header has `Scalar`, `input_dim`, `num_experts`, `max_entries` and
///
///     int route(const Scalar* x, std::int32_t* experts, Scalar* weights);
///
/// which neither allocates nor throws; a COMET gate takes room for n k leaves on the stack. Numbers
/// are written exactly. Inner products repeat the order and the fused operations of the build that
/// writes (packets of 4, 8, ... partial sums), in plain loops that a compiler can turn back into
/// vector code; where fused operations were used the header calls std::fma, which wants hardware
/// for it (-mfma) to be fast.
///
/// Bits agree with route() if the program that calls route() was compiled with -ffp-contract=off,
/// or for a target without fused operations; otherwise its compiler may have fused a sum of weights
/// that the header does not, and a weight can differ in its last digits. The header guards itself
/// against contraction, except against clang's -ffp-contract=fast, and refuses -ffast-math. exp()
/// must come from the same C library.
///
/// \param frozen  what freeze() gives for a CometGate, permutations included
/// \throws std::invalid_argument if options.name is no namespace, or this build adds up inner
///         products in an order that the header cannot repeat
template <class S>
void emit_cpp(const FrozenCometGate<S>& frozen, std::ostream& out,
              const EmitCppOptions& options = {}) {
  const Index n = frozen.num_experts();
  const Index k = frozen.num_trees();
  detail::CppWriter<S> cpp(out, options.name,
                           detail::emitted_title<S>("a COMET gate", frozen.input_dim(), n, k));
  cpp.sizes(frozen.input_dim(), n, frozen.max_active());
  cpp << "\nnamespace detail {\n\n";
  cpp.constant("num_trees", k);
  cpp.constant("num_levels", Index(std::bit_width(std::size_t(n - 1))) + 1);
  cpp.constant("deepest", Index(std::bit_floor(std::size_t(2 * n - 1))) - 1);
  cpp.constant("gamma", frozen.gamma());
  cpp << "// Plane q k + j is node q (heap order) of tree j.\n";
  if (n > 1) cpp.planes("split", frozen.splits());
  cpp << "// Plane i k + j is leaf i (from left to right) of tree j.\n";
  cpp.planes("leaf", frozen.leaves());
  cpp.array("std::int32_t", "expert_of_leaf", frozen.labels());
  cpp << "\n";
  cpp.dot();
  if (n > 1) cpp.smooth_step();
  cpp.row();
  cpp << R"(// Leaves that the sample reaches, in the order of the sums.
struct Walk {
  const Scalar* x;
  Scalar reach[num_levels][num_trees];
  Scalar share[num_levels][num_trees];
  int leaf[num_experts * num_trees];
  Scalar leaf_reach[num_experts * num_trees];
  Scalar factor[num_experts * num_trees];
  int num_leaves = 0;
  bool finite = true;

  void visit(int node, int level) {
    if (node >= num_experts - 1) {
      const int i = node >= deepest ? node - deepest : node + num_experts - deepest;
      for (int j = 0; j < num_trees; ++j) {
        if (!(reach[level][j] > 0)) continue;
        const int plane = i * num_trees + j;
        leaf[num_leaves] = plane;
        leaf_reach[num_leaves] = reach[level][j];
        factor[num_leaves++] = dot(leaf_weight + plane * input_dim, x, leaf_bias[plane]);
      }
      return;
    }
)";
  if (n > 1)
    cpp << R"(    for (int j = 0; j < num_trees; ++j) {
      if (!(reach[level][j] > 0)) continue;
      const int plane = node * num_trees + j;
      share[level][j] =
          smooth_step(dot(split_weight + plane * input_dim, x, split_bias[plane]));
      finite = finite && !std::isnan(share[level][j]);
    }
    for (int side = 0; side < 2; ++side) {
      bool live = false;
      for (int j = 0; j < num_trees; ++j) {
        Scalar child = 0;
        if (reach[level][j] > 0)
          child = reach[level][j] * (side == 0 ? share[level][j] : 1 - share[level][j]);
        reach[level + 1][j] = child;
        live = live || child > 0;
      }
      if (live) visit(2 * node + 1 + side, level + 1);
    }
)";
  cpp << "  }\n};\n\n}  // namespace detail\n\n";
  cpp.route_comment();
  cpp << R"(#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
  if (!detail::is_finite(x)) return -1;
  detail::Walk walk;
  walk.x = x;
  for (int j = 0; j < detail::num_trees; ++j) walk.reach[0][j] = 1;
  walk.visit(0, 0);
  Scalar largest = -std::numeric_limits<Scalar>::infinity();
  for (int i = 0; i < walk.num_leaves; ++i) largest = std::max(largest, walk.factor[i]);
  Scalar sum = 0;
  for (int i = 0; i < walk.num_leaves; ++i) {
    walk.factor[i] = std::exp(walk.factor[i] - largest);
    sum += walk.leaf_reach[i] * walk.factor[i];
  }
  if (!(walk.finite && sum > 0 && std::isfinite(sum))) return -1;
  detail::Row row{experts, weights};
  for (int i = 0; i < walk.num_leaves; ++i) {
    walk.factor[i] /= sum;
    row.add(detail::expert_of_leaf[walk.leaf[i]], walk.leaf_reach[i] * walk.factor[i]);
  }
  return row.size;
}

)";
  cpp.end();
}

/// \brief The same for a Top-k gate. \see emit_cpp(const FrozenCometGate<S>&, std::ostream&, const
/// EmitCppOptions&)
///
/// With TopKSoftmax::all the sum over the logits that were not selected runs in the order in which
/// the standard library's selection leaves them: bits agree for the same standard library.
template <class S>
void emit_cpp(const FrozenTopKGate<S>& frozen, std::ostream& out,
              const EmitCppOptions& options = {}) {
  const Index n = frozen.num_experts();
  const Index k = frozen.max_active();
  const bool all = frozen.softmax() == TopKSoftmax::all;
  detail::CppWriter<S> cpp(out, options.name,
                           detail::emitted_title<S>("a Top-k gate", frozen.input_dim(), n, k));
  cpp.sizes(frozen.input_dim(), n, k);
  cpp << "\nnamespace detail {\n\n";
  cpp.planes("logit", frozen.logits());
  cpp.array("std::int32_t", "expert_of_logit", frozen.labels());
  cpp << "\n";
  cpp.dot();
  cpp.row();
  cpp << "}  // namespace detail\n\n";
  cpp.route_comment();
  cpp << R"(  if (!detail::is_finite(x)) return -1;
  Scalar h[num_experts];
  int order[num_experts];
  for (int i = 0; i < num_experts; ++i) {
    h[i] = detail::dot(detail::logit_weight + i * input_dim, x, detail::logit_bias[i]);
    if (!std::isfinite(h[i])) return -1;
    order[i] = i;
  }
  const auto larger = [&h](int i, int j) { return h[i] > h[j] || (h[i] == h[j] && i < j); };
  constexpr int k = max_entries;
  std::nth_element(order, order + (k - 1), order + num_experts, larger);
  const Scalar largest = h[*std::min_element(order, order + k, larger)];
  std::sort(order, order + k);
  Scalar factor[k];
  Scalar sum = 0;
  for (int i = 0; i < k; ++i) sum += factor[i] = std::exp(h[order[i]] - largest);
)";
  if (all)
    cpp << "  for (int i = k; i < num_experts; ++i) sum += std::exp(h[order[i]] - largest);\n";
  cpp << R"(  detail::Row row{experts, weights};
  for (int i = 0; i < k; ++i) row.add(detail::expert_of_logit[order[i]], factor[i] / sum);
  return row.size;
}

)";
  cpp.end();
}

/// \brief The same for a DSelect-k gate. \see emit_cpp(const FrozenCometGate<S>&, std::ostream&,
/// const EmitCppOptions&)
template <class S>
void emit_cpp(const FrozenDSelectKGate<S>& frozen, std::ostream& out,
              const EmitCppOptions& options = {}) {
  const Index n = frozen.num_experts();
  const Index k = frozen.num_selectors();
  const bool shared = Index(frozen.labels().size()) == n;
  detail::CppWriter<S> cpp(out, options.name,
                           detail::emitted_title<S>("a DSelect-k gate", frozen.input_dim(), n, k));
  cpp.sizes(frozen.input_dim(), n, frozen.max_active());
  cpp << "\nnamespace detail {\n\n";
  cpp.constant("num_selectors", k);
  cpp.constant("num_bits", frozen.bits().size() / k);
  cpp.constant("gamma", frozen.gamma());
  cpp << "// Plane j num_bits + t is bit t of selector j, the most significant first.\n";
  cpp.planes("bit", frozen.bits());
  cpp << "// Plane j is selector j.\n";
  cpp.planes("mixture", frozen.mixture());
  cpp.array("std::int32_t", "expert_of_code", frozen.labels());
  cpp << "\n";
  cpp.dot();
  cpp.smooth_step();
  cpp.row();
  cpp << R"(// Down the tree of the codes' prefixes; what no selector reaches is left out.
struct Walk {
  Scalar share[num_selectors][num_bits];
  Scalar mixture[num_selectors];
  Scalar reach[num_bits + 1][num_selectors];
  Row row;

  void visit(int prefix, int bit) {
    if (bit == num_bits) {
      add(prefix);
      return;
    }
    for (int value = 0; value < 2; ++value) {
      const int child = 2 * prefix + value;
      if ((std::int64_t(child) << (num_bits - 1 - bit)) >= num_experts) return;
      bool live = false;
      for (int j = 0; j < num_selectors; ++j) {
        const Scalar part = value == 1 ? share[j][bit] : 1 - share[j][bit];
        reach[bit + 1][j] = reach[bit][j] * part;
        live = live || reach[bit + 1][j] > 0;
      }
      if (live) visit(child, bit + 1);
    }
  }

  void add(int code) {
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
)"
      << (shared ? R"(    Scalar sum = 0;
    for (int j = 0; j < num_selectors; ++j) sum += mixture[j] * reach[num_bits][j];
    row.add(expert_of_code[code], sum);
)"
                 : R"(    for (int j = 0; j < num_selectors; ++j) {
      const Scalar weight = mixture[j] * reach[num_bits][j];
      if (weight != 0) row.add(expert_of_code[code * num_selectors + j], weight);
    }
)") << "  }\n};\n\n}  // namespace detail\n\n";
  cpp.route_comment();
  cpp << R"(  if (!detail::is_finite(x)) return -1;
  detail::Walk walk;
  walk.row = {experts, weights};
  bool finite = true;
  for (int j = 0; j < detail::num_selectors; ++j)
    for (int t = 0; t < detail::num_bits; ++t) {
      const int plane = j * detail::num_bits + t;
      const Scalar logit =
          detail::dot(detail::bit_weight + plane * input_dim, x, detail::bit_bias[plane]);
      finite = finite && std::isfinite(logit);
      walk.share[j][t] = detail::smooth_step(logit);
    }
  for (int j = 0; j < detail::num_selectors; ++j) {
    walk.mixture[j] =
        detail::dot(detail::mixture_weight + j * input_dim, x, detail::mixture_bias[j]);
    finite = finite && std::isfinite(walk.mixture[j]);
  }
  if (!finite) return -1;
  Scalar largest = walk.mixture[0];
  for (const Scalar w : walk.mixture) largest = std::max(largest, w);
  Scalar sum = 0;
  for (Scalar& w : walk.mixture) sum += w = std::exp(w - largest);
  for (Scalar& w : walk.mixture) w /= sum;
  for (Scalar& reach : walk.reach[0]) reach = 1;
  walk.visit(0, 0);
  return walk.row.size;
}

)";
  cpp.end();
}

/// \brief A Hash gate as a table: `route(id)` is the expert, -1 if there is no such id.
template <class S>
void emit_cpp(const HashGate<S>& gate, std::ostream& out, const EmitCppOptions& options = {}) {
  detail::CppWriter<S> cpp(out, options.name,
                           "Routing of one id by a Hash gate: " + std::to_string(gate.num_ids()) +
                               " ids, " + std::to_string(gate.num_experts()) + " experts");
  cpp.constant("num_ids", gate.num_ids());
  cpp.constant("num_experts", gate.num_experts());
  cpp.array("std::int32_t", "expert_of_id", gate.table());
  cpp << R"(
/// \return the expert of an id, with weight 1; -1 if there is no such id
inline std::int32_t route(std::int32_t id) {
  return id >= 0 && id < num_ids ? expert_of_id[id] : -1;
}

)";
  cpp.end();
}

}  // namespace comet
