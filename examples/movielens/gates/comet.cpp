// SPDX-License-Identifier: MIT
#include <comet/gates/comet.hpp>

#include <movielens/gate_predictor.hpp>
#include <movielens/run_gate.hpp>

namespace movielens {
namespace {

auto comet_gates(const TrainOptions& o) {
  return [&o](RandomKey key) {
    return comet::CometGate<float>({.input_dim = 2 * o.model.embedding_dim,
                                    .num_experts = o.model.num_experts,
                                    .k = o.k,
                                    .gamma = o.gamma,
                                    .entropy = o.entropy},
                                   key);
  };
}

}  // namespace

RunResult run_comet(const TrainOptions& o, const Dataset& data, const Console& console) {
  return run_gate(o, data, console, comet_gates(o));
}

std::unique_ptr<Predictor> open_comet(const ModelFile& file) {
  return open_gate(file, comet_gates(file.options()));
}

}  // namespace movielens
