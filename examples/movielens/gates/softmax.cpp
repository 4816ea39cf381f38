// SPDX-License-Identifier: MIT
#include <comet/gates/softmax.hpp>

#include <movielens/gate_predictor.hpp>
#include <movielens/run_gate.hpp>

namespace movielens {
namespace {

auto softmax_gates(const TrainOptions& o) {
  return [&o](RandomKey key) {
    return comet::SoftmaxGate<float>(
        {
            .input_dim = 2 * o.model.embedding_dim,
            .num_experts = o.model.num_experts,
        },
        key);
  };
}

}  // namespace

RunResult run_softmax(const TrainOptions& o, const Dataset& data, const Console& console) {
  return run_gate(o, data, console, softmax_gates(o));
}

std::unique_ptr<Predictor> open_softmax(const ModelFile& file) {
  return open_gate(file, softmax_gates(file.options()));
}

}  // namespace movielens
