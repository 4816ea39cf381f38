// SPDX-License-Identifier: MIT
#include <comet/gates/dselect_k.hpp>

#include <movielens/gate_predictor.hpp>
#include <movielens/run_gate.hpp>

namespace movielens {
namespace {

auto dselect_k_gates(const TrainOptions& o) {
  return [&o](RandomKey key) {
    return comet::DSelectKGate<float>({.input_dim = 2 * o.model.embedding_dim,
                                       .num_experts = o.model.num_experts,
                                       .k = o.k,
                                       .gamma = o.gamma,
                                       .entropy = o.entropy},
                                      key);
  };
}

}  // namespace

RunResult run_dselect_k(const TrainOptions& o, const Dataset& data, const Console& console) {
  return run_gate(o, data, console, dselect_k_gates(o));
}

std::unique_ptr<Predictor> open_dselect_k(const ModelFile& file) {
  return open_gate(file, dselect_k_gates(file.options()));
}

}  // namespace movielens
