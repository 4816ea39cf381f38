// SPDX-License-Identifier: MIT
#pragma once

#include <bit>
#include <cstddef>
#include <ostream>
#include <string>

#include <comet/core/types.hpp>
#include <comet/gates/hash.hpp>
#include <comet/inference/cpp_writer.hpp>
#include <comet/inference/frozen_comet_gate.hpp>
#include <comet/inference/frozen_dselect_k_gate.hpp>
#include <comet/inference/frozen_top_k_gate.hpp>

/// \file
/// \brief Writes a frozen gate as a C++17 header that needs nothing but the standard library.

namespace comet {

/// How the header is to be written.
struct EmitCppOptions {
  std::string name = "gate";  ///< namespace of what is written, an identifier or several with `::`
};

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
  if (!(walk.finite && sum >= std::numeric_limits<Scalar>::min() && std::isfinite(sum))) return -1;
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
