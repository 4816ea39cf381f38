// SPDX-License-Identifier: MIT
#pragma once

#include <ostream>
#include <string>
#include <type_traits>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/frozen.hpp>
#include <comet/gates/hash.hpp>
#include <comet/inference/cpp_writer.hpp>

/// \file
/// \brief Writes a frozen gate as a C++17 header that needs nothing but the standard library.

namespace comet {

/// How the header is to be written.
struct EmitCppOptions {
  std::string name = "gate";  ///< namespace of what is written, an identifier or several with `::`
};

namespace detail {

/// What a header says it is.
template <class Tables>
std::string emitted_title(const FrozenGate<Tables>& frozen) {
  using S = typename Tables::Scalar;
  std::string gate = "a DSelect-k gate";
  if constexpr (std::is_same_v<Tables, CometTables<S>>) gate = "a COMET gate";
  if constexpr (std::is_same_v<Tables, TopKTables<S>>) gate = "a Top-k gate";
  return "Routing of one sample by " + gate + ": " + std::to_string(frozen.input_dim()) +
         " inputs, " + std::to_string(frozen.num_experts()) +
         " experts, k = " + std::to_string(frozen.tables().k);
}

template <class S>
void write_gate(CppWriter<S>& cpp, const FrozenCometGate<S>& frozen) {
  const CometTables<S>& tables = frozen.tables();
  cpp.begin(frozen.input_dim(), frozen.num_experts(), frozen.max_active());
  cpp << "// Plane q k + j is node q (heap order) of tree j.\n";
  cpp.planes("split", tables.splits);
  cpp << "// Plane i k + j is leaf i (from left to right) of tree j.\n";
  cpp.planes("leaf", tables.leaves);
  cpp.array("std::int32_t", "expert_of_slot", frozen.labels());
  cpp << "\nstruct Tables {\n";
  cpp.shape(tables.shape);
  cpp.member("k", tables.k);
  cpp.member("gamma", tables.gamma);
  cpp.member("split", tables.splits);
  cpp.member("leaf", tables.leaves);
  cpp.route();
  cpp << R"(  constexpr int k = detail::Tables::k;
  portable::LiveList<1, Scalar> walk[detail::Tables::shape.num_levels * k];
  portable::ReachedLeaf<Scalar> leaves[num_experts * k];
  return portable::route_comet(detail::Tables(), x, walk, leaves, add) ? row.size : -1;
}

)";
}

template <class S>
void write_gate(CppWriter<S>& cpp, const FrozenTopKGate<S>& frozen) {
  const TopKTables<S>& tables = frozen.tables();
  cpp.begin(frozen.input_dim(), frozen.num_experts(), frozen.max_active());
  cpp.planes("expert", tables.logits);
  cpp.array("std::int32_t", "expert_of_slot", frozen.labels());
  cpp << "\nstruct Tables {\n";
  cpp.member("n", tables.n);
  cpp.member("k", tables.k);
  cpp.member("over_all", tables.over_all);
  cpp.member("expert", tables.logits);
  cpp.route();
  cpp << R"(  Scalar h[num_experts];
  std::int32_t order[num_experts];
  Scalar selected[max_entries];
  return portable::route_top_k(detail::Tables(), x, h, order, selected, add) ? row.size : -1;
}

)";
}

template <class S>
void write_gate(CppWriter<S>& cpp, const FrozenDSelectKGate<S>& frozen) {
  const DSelectKTables<S>& tables = frozen.tables();
  cpp.begin(frozen.input_dim(), frozen.num_experts(), frozen.max_active());
  cpp << "// Plane j m + t is bit t of selector j, the most significant first.\n";
  cpp.planes("bit", tables.bits);
  cpp << "// Plane j is selector j.\n";
  cpp.planes("mixture", tables.mixture);
  cpp << (tables.has_slots ? "// Slot i k + j is code i of selector j.\n"
                           : "// Slot i is code i.\n");
  cpp.array("std::int32_t", "expert_of_slot", frozen.labels());
  cpp << "\nstruct Tables {\n";
  cpp.shape(tables.shape);
  cpp.member("n", tables.n);
  cpp.member("k", tables.k);
  cpp.member("m", tables.m);
  cpp.member("has_slots", tables.has_slots);
  cpp.member("gamma", tables.gamma);
  cpp.member("bit", tables.bits);
  cpp.member("mixture", tables.mixture);
  cpp.route();
  cpp << R"(  constexpr int k = detail::Tables::k;
  constexpr int m = detail::Tables::m;
  portable::LiveList<1, Scalar> walk[(m + 1) * k];
  Scalar share[k * m];
  Scalar mixture[k];
  return portable::route_dselect_k(detail::Tables(), x, walk, share, mixture, add) ? row.size : -1;
}

)";
}

/// A gate that a header can have.
template <class G>
concept EmittableGate = requires(CppWriter<typename G::Scalar>& cpp, const G& gate) {
  write_gate(cpp, gate);
};

}  // namespace detail

/// \brief Writes the gate as a C++17 header that routes one sample to the same bits, for programs
/// that have no place for a library.
///
/// In namespace options.name the header has `Scalar`, `input_dim`, `num_experts`, `max_entries` and
///
///     int route(const Scalar* x, std::int32_t* experts, Scalar* weights);
///
/// which neither allocates nor throws: the code is that of frozen gates (kernels/portable); a COMET
/// gate takes room for n k leaves on the stack. Numbers are written exactly. Inner products repeat
/// the order and the fused operations of the build that writes (packets of 4, 8, ... partial sums),
/// in plain loops that a compiler can turn back into vector code; where fused operations were used
/// the header calls std::fma, which wants hardware for it (-mfma) to be fast.
///
/// Bits agree with route() if the program that calls route() was compiled with -ffp-contract=off,
/// or for a target without fused operations; otherwise its compiler may have fused a sum of weights
/// that the header does not, and a weight can differ in its last digits. The header guards itself
/// against contraction, except against clang's -ffp-contract=fast, and refuses -ffast-math. exp()
/// must come from the same C library.
///
/// Of a Top-k gate with TopKSoftmax::all the sum over the logits that were not selected runs in the
/// order in which the standard library's selection leaves them: bits agree for the same standard
/// library.
///
/// \param frozen  what freeze() gives for a CometGate, TopKGate or DSelectKGate, permutations
///                included
/// \throws std::invalid_argument if options.name is no namespace, out cannot be written to, or this
///         build adds up inner products in an order that the header cannot repeat
template <detail::EmittableGate G>
void emit_cpp(const G& frozen, std::ostream& out, const EmitCppOptions& options = {}) {
  detail::emit(out, [&](std::ostream& text) {
    detail::CppWriter<typename G::Scalar> cpp(text, options.name, detail::emitted_title(frozen));
    cpp.portable_code();
    detail::write_gate(cpp, frozen);
    cpp.end();
  });
}

/// \brief A Hash gate as a table: `route(id)` is the expert, -1 if there is no such id.
/// \throws std::invalid_argument if the gate has no table, options.name is no namespace, or out
///         cannot be written to
template <class S>
void emit_cpp(const HashGate<S>& gate, std::ostream& out, const EmitCppOptions& options = {}) {
  detail::check_at_least("emit_cpp", "the Hash gate's num_ids", gate.num_ids(), 1);
  detail::emit(out, [&](std::ostream& text) {
    detail::CppWriter<S> cpp(text, options.name,
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
  });
}

}  // namespace comet
