// SPDX-License-Identifier: MIT
// emit_gates FILE: writes gates and layers as plain C++, and random samples with what the library
// makes of them.
#include <cstdint>
#include <fstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/pass.hpp>
#include <comet/experts/dense.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/inference/emit_cpp.hpp>
#include <comet/inference/emit_layer.hpp>
#include <comet/inference/freeze.hpp>
#include <comet/moe_layer.hpp>
#include <support/locale.hpp>

using namespace comet;

namespace {

constexpr Index d = 43;  // whole and broken packets, for every size of packet
constexpr Index samples = 40;

std::string checks;

template <class G>
void write(const std::string& name, const G& gate, std::ostream& out,
           const std::vector<Permutation>& permutations = {}) {
  using S = typename G::Scalar;
  const auto frozen = freeze(gate, permutations);
  emit_cpp(frozen, out, {.name = name});

  Matrix<S> x(d, samples);
  RandomKey(9).fill_uniform(x, -1, 1);
  Routing<S> routing;
  if (permutations.empty()) {
    Pass pass(gate);
    gate.route(x, routing, pass);
  } else {
    Pass pass(frozen);
    frozen.route(x, routing, pass);
  }
  detail::CppWriter<S> cpp(out, name + "_cases", "What the library says");
  cpp << "using Scalar = " << (std::is_same_v<S, float> ? "float" : "double") << ";\n";
  cpp.array("Scalar", "x", x.reshaped());
  cpp.array("int", "offsets", routing.offsets());
  cpp.array("std::int32_t", "experts", routing.experts());
  cpp.array("Scalar", "weights", routing.weights());
  cpp.end();
  checks += "CHECK_GATE(" + name + ")\n";
}

template <class G>
void write_permuted(const std::string& name, const G& gate, bool each, std::ostream& out) {
  std::vector<Permutation> permutations;
  for (Index j = 0; j < (each ? gate.options().k : 1); ++j)
    permutations.push_back(Permutation::random(gate.num_experts(), RandomKey(8).fold(j)));
  write(name, gate, out, permutations);
}

/// Parameters far from the start, so that some splits are saturated and some are not.
template <class G>
G scattered(G gate) {
  std::uint64_t seed = 50;
  for_each_parameter(gate, [&](const ParameterName&, auto& values) {
    RandomKey(seed++).fill_uniform(values, -1, 1);
  });
  return gate;
}

/// A layer with a gate for each task, and what it predicts; biases are not 0.
template <class E, class G>
void write_layer(const std::string& name, std::vector<G> gates, const typename E::Options& options,
                 Storage storage, std::ostream& out) {
  using S = typename G::Scalar;
  const Index n = gates.front().num_experts();
  std::vector<E> experts;
  for (Index i = 0; i < n; ++i) experts.push_back(scattered(E(options, RandomKey(3).fold(i))));
  const auto served = MoeLayer(std::move(gates), std::move(experts)).freeze(storage);
  emit_cpp(served, out, {.name = name});
  Matrix<S> x(d, samples), y(served.output_dim(), served.num_tasks() * samples);
  RandomKey(9).fill_uniform(x, -1, 1);
  Pass pass(served);
  served.predict(x, y, pass);
  detail::CppWriter<S> cpp(out, name + "_cases", "What the library says");
  cpp << "using Scalar = " << (std::is_same_v<S, float> ? "float" : "double") << ";\n";
  cpp.array("Scalar", "x", x.reshaped());
  cpp.array("Scalar", "y", y.reshaped());
  cpp.end();
  checks += "CHECK_LAYER(" + name + ")\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  // A program's locale is no business of what compilers read.
  const test::GroupingLocale grouping;
  std::ofstream out(argv[1]);
  using Comet = CometGateOptions;
  using DSelect = DSelectKGateOptions;
  const auto key = RandomKey(1);
  write("comet_plain",
        scattered(
            CometGate<float>(Comet{.input_dim = d, .num_experts = 11, .k = 3, .gamma = 3}, key)),
        out);
  write_permuted("comet_one",
                 scattered(CometGate<double>(
                     Comet{.input_dim = d, .num_experts = 16, .k = 2, .gamma = 20}, key)),
                 false, out);
  write_permuted(
      "comet_each",
      scattered(CometGate<float>(Comet{.input_dim = d, .num_experts = 6, .k = 3, .gamma = 8}, key)),
      true, out);
  write("comet_single", CometGate<float>(Comet{.input_dim = d, .num_experts = 1, .k = 1}, key),
        out);
  write_permuted("top_k", TopKGate<float>({.input_dim = d, .num_experts = 20, .k = 4}, key), false,
                 out);
  write("top_k_all",
        TopKGate<double>({.input_dim = d, .num_experts = 20, .k = 2, .softmax = TopKSoftmax::all},
                         key),
        out);
  write_permuted("dselect_one",
                 scattered(DSelectKGate<float>(
                     DSelect{.input_dim = d, .num_experts = 11, .k = 2, .gamma = 8}, key)),
                 false, out);
  write_permuted("dselect_each",
                 scattered(DSelectKGate<double>(
                     DSelect{.input_dim = d, .num_experts = 8, .k = 3, .gamma = 8}, key)),
                 true, out);
  write("softmax", SoftmaxGate<float>({.input_dim = d, .num_experts = 7}, key), out);
  emit_cpp(HashGate<float>({4, 0, 3, 3, 1}, 5), out, {.name = "tables::hash"});
  write_layer<DenseExpert<float>, CometGate<float>>(
      "layer_tasks",
      {scattered(
           CometGate<float>(Comet{.input_dim = d, .num_experts = 11, .k = 3, .gamma = 8}, key)),
       scattered(CometGate<float>(Comet{.input_dim = d, .num_experts = 11, .k = 2}, RandomKey(2)))},
      {.input_dim = d, .output_dim = 13}, Storage::full, out);
  write_layer<MlpExpert<double>, TopKGate<double>>(
      "layer_mlp", {TopKGate<double>({.input_dim = d, .num_experts = 9, .k = 9}, key)},
      {.input_dim = d, .hidden_dim = 21, .output_dim = 5}, Storage::full, out);
  write_layer<MlpExpert<float>, DSelectKGate<float>>(
      "layer_mlp_int8",
      {scattered(DSelectKGate<float>(DSelect{.input_dim = d, .num_experts = 11, .k = 2, .gamma = 8},
                                     key))},
      {.input_dim = d, .hidden_dim = 600, .output_dim = 16}, Storage::int8, out);
  write_layer<DenseExpert<double>, TopKGate<double>>(
      "layer_int8", {TopKGate<double>({.input_dim = d, .num_experts = 3, .k = 1}, key)},
      {.input_dim = d, .output_dim = 3, .activation = Activation::identity}, Storage::int8, out);
  out << "#define CHECK_ALL ";
  for (const char c : checks) out << (c == '\n' ? ' ' : c);
  out << '\n';
  return out ? 0 : 1;
}
