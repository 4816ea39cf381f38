// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <type_traits>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/storage.hpp>
#include <comet/core/types.hpp>
#include <comet/experts/frozen.hpp>
#include <comet/inference/cpp_writer.hpp>
#include <comet/inference/emit_cpp.hpp>

/// \file
/// \brief Writes a frozen layer, gates and experts, as a C++17 header that needs nothing but the
/// standard library.

namespace comet {

namespace detail {

/// One of the affine maps of all experts.
template <class S>
class ExpertPartWriter {
 public:
  ExpertPartWriter(CppWriter<S>& cpp, const std::vector<FrozenExpert<S>>& experts, std::size_t part)
      : cpp_(cpp), experts_(experts), part_(part), first_(affine(experts.front())) {
    for (const FrozenExpert<S>& expert : experts) check(expert);
  }

  /// The numbers, expert by expert.
  void tables() {
    if (first_.storage() == Storage::int8) {
      table<std::int8_t>("std::int8_t", "weight");
      numbers("scale", [](const auto& a) -> const Matrix<S>& { return a.scale(); });
    } else {
      table<S>("Scalar", "weight");
    }
    numbers("bias", [](const auto& a) -> const Matrix<S>& { return a.bias(); });
  }

  /// A statement that evaluates it.
  void call(const std::string& from, const std::string& to) {
    const std::string in = std::to_string(first_.input_dim()),
                      out = std::to_string(first_.output_dim());
    const auto of = [&](const char* name, const std::string& size) {
      return "detail::" + symbol(name) + " + portable::Index(number) * " + size;
    };
    const ProductOrder order = product_order<S>();
    const bool integers = first_.storage() == Storage::int8;
    if (integers)
      cpp_ << "    std::int16_t rounded" << std::to_string(part_) << "[" << in << "];\n";
    cpp_ << "    portable::affine"
         << (integers ? ""
                      : "<" + std::to_string(lanes<S>) + ", " + cpp_.literal(order.fused) + ", " +
                            cpp_.literal(order.crossed) + ">")
         << "(" << of("weight", in + " * " + out) << ", "
         << (integers ? of("scale", out) + ", " : "") << of("bias", out)
         << ",\n                     " << cpp_.literal(first_.activation() == Activation::relu)
         << ", " << in << ", " << out << ", " << from << ", "
         << (integers ? "rounded" + std::to_string(part_) + ", " : "") << to << ");\n";
  }

  [[nodiscard]] Index output_dim() const { return first_.output_dim(); }

 private:
  [[nodiscard]] const StoredAffine<S>& affine(const FrozenExpert<S>& expert) const {
    check_equal("emit_cpp", "the number of parts of an expert", Index(expert.parts().size()),
                "that of the first", Index(experts_.front().parts().size()));
    return expert.parts()[part_].affine;
  }
  [[nodiscard]] std::string symbol(const char* name) const {
    return std::string(name) + '_' + std::to_string(part_);
  }

  void check(const FrozenExpert<S>& expert) const {
    const StoredAffine<S>& here = affine(expert);
    if (keeps_slope(here.activation()))
      raise(
          "emit_cpp",
          "an expert has gelu or silu, whose vector code a header cannot repeat; relu and identity "
          "can be written");
    if (expert.parts()[part_].factor)
      raise("emit_cpp", "an expert is gated (GatedMlpExpert): a header has no form for it");
    if (here.storage() == Storage::bf16)
      raise("emit_cpp", "the storage is bf16, expected full or int8");
    if (here.input_dim() != first_.input_dim() || here.output_dim() != first_.output_dim() ||
        here.activation() != first_.activation() || here.storage() != first_.storage())
      raise("emit_cpp", "the experts differ in size, activation or storage: a header has one kind");
  }

  template <class W>
  void table(const char* type, const char* name) {
    cpp_.array_of(type, symbol(name), experts_, [&](const auto& expert, auto write) {
      affine(expert).with_weight([&]<class Kept>(const Parameter<Kept>& weight) {
        if constexpr (std::is_same_v<Kept, W>)
          for (Index i = 0; i < weight.size(); ++i) write(weight.data()[i]);
      });
    });
  }
  template <class Of>
  void numbers(const char* name, Of of) {
    cpp_.array_of("Scalar", symbol(name), experts_, [&](const auto& expert, auto write) {
      const Matrix<S>& values = of(affine(expert));
      for (Index i = 0; i < values.size(); ++i) write(values.data()[i]);
    });
  }

  CppWriter<S>& cpp_;
  const std::vector<FrozenExpert<S>>& experts_;
  std::size_t part_;
  const StoredAffine<S>& first_;
};

/// \see emit_cpp(const Layer&, std::ostream&, const EmitCppOptions&)
template <class Layer>
void write_layer(const Layer& served, std::ostream& out, const EmitCppOptions& options) {
  using S = typename Layer::Scalar;
  const auto tasks = std::to_string(served.num_tasks());
  CppWriter<S> cpp(out, options.name,
                   "A mixture of experts for one sample: " + std::to_string(served.input_dim()) +
                       " inputs, " + std::to_string(served.output_dim()) + " outputs, " +
                       std::to_string(served.num_experts()) + " experts, " + tasks +
                       (tasks == "1" ? " task" : " tasks"));
  std::vector<ExpertPartWriter<S>> parts;
  for (std::size_t i = 0; i < served.experts().front().parts().size(); ++i)
    parts.emplace_back(cpp, served.experts(), i);

  cpp.portable_code();
  cpp << "using Scalar = " << (std::is_same_v<S, float> ? "float" : "double") << ";\n";
  cpp.constant("input_dim", served.input_dim());
  cpp.constant("output_dim", served.output_dim());
  cpp.constant("num_tasks", served.num_tasks());
  cpp.constant("num_experts", served.num_experts());
  for (Index t = 0; t < served.num_tasks(); ++t) {
    cpp << "\nnamespace gate_" << std::to_string(t) << " {\n\n";
    write_gate(cpp, served.gates()[std::size_t(t)]);
    cpp << "}  // namespace gate_" << std::to_string(t) << "\n";
  }
  cpp << "\nnamespace detail {\n\n// Expert by expert, output by output.\n";
  for (auto& part : parts) part.tables();
  cpp << "\n}  // namespace detail\n\n"
         "/// The mixtures of one sample of input_dim numbers, num_tasks times output_dim of "
         "them.\n"
         "/// \\return the number of experts asked; -1 if x is not finite or a logit overflows\n"
         "inline int predict(const Scalar* x, Scalar* y) {\n"
         "  const auto expert = [x](std::int32_t number, Scalar* output) {\n";
  std::string from = "x";
  for (std::size_t i = 0; i < parts.size(); ++i) {
    std::string to = "output";
    if (i + 1 < parts.size()) {
      to = "hidden" + std::to_string(i);
      cpp << "    Scalar " << to << "[" << std::to_string(parts[i].output_dim()) << "];\n";
    }
    parts[i].call(from, to);
    from = to;
  }
  cpp << "  };\n"
         "  Scalar outputs[8 * output_dim];\n"
         "  int asked = 0;\n";
  for (Index t = 0; t < served.num_tasks(); ++t) {
    const std::string gate = "gate_" + std::to_string(t);
    cpp << "  {\n    std::int32_t experts[" << gate << "::max_entries];\n    Scalar weights["
        << gate << "::max_entries];\n    const int entries = " << gate
        << "::route(x, experts, weights);\n    if (entries < 0) return -1;\n"
           "    portable::mix(experts, weights, entries, portable::Index(output_dim),\n"
           "                  y + portable::Index(output_dim) * "
        << std::to_string(t) << ", outputs, expert);\n    asked += entries;\n  }\n";
  }
  cpp << "  return asked;\n}\n\n";
  cpp.end();
}

}  // namespace detail

/// \brief Writes a frozen layer as a C++17 header that predicts for one sample, to the bits of
/// predict(), for programs that have no place for a library.
///
/// In namespace options.name the header has `Scalar`, `input_dim`, `output_dim`, `num_tasks`,
/// `num_experts` and the function
///
///     int predict(const Scalar* x, Scalar* y);
///
/// for input_dim numbers x and num_tasks * output_dim numbers y, task by task. It returns how many
/// experts were asked, or -1 if x is not finite or a logit overflows, and neither allocates nor
/// throws; outputs of eight experts are on the stack. An expert that two tasks use is evaluated for
/// each of them. `gate_0`, `gate_1`, ... have the routing of each task.
///
/// Numbers are written exactly, floats as text of some 12 bytes and weights of eight bits of some
/// 4: a large layer makes a large header. What is said of bits and flags for a gate goes for the
/// layer, see emit_cpp(const G&, std::ostream&, const EmitCppOptions&). Weights of eight bits have
/// integer sums, the same on any machine.
///
/// \param served  frozen with Storage::full or Storage::int8, of COMET, Top-k or DSelect-k gates
///                and experts with relu or identity
/// \throws std::invalid_argument if experts or storage are others, options.name is no namespace,
///         out cannot be written to, or this build sums in an order that the header cannot repeat
template <class Layer>
requires requires(const Layer& layer) {
  layer.gates();
  layer.experts();
}
void emit_cpp(const Layer& served, std::ostream& out, const EmitCppOptions& options = {}) {
  using S = typename Layer::Scalar;
  using Gate = typename std::remove_cvref_t<decltype(served.gates())>::value_type;
  using Expert = typename std::remove_cvref_t<decltype(served.experts())>::value_type;
  static_assert(std::is_same_v<Expert, FrozenExpert<S>>,
                "comet::emit_cpp: the experts of this layer are not frozen: write "
                "emit_cpp(layer.freeze(), out)");
  static_assert(detail::EmittableGate<Gate>,
                "comet::emit_cpp: the gate of this layer has no form as a header: COMET, Top-k and "
                "DSelect-k gates do, frozen");
  detail::emit(out, [&](std::ostream& text) { detail::write_layer(served, text, options); });
}

}  // namespace comet
