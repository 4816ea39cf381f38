// SPDX-License-Identifier: MIT
#include <comet/gates/dselect_k.hpp>

#include <movielens/run_gate.hpp>

namespace movielens {

RunResult run_dselect_k(const TrainOptions& o, const Dataset& data, const Console& console) {
  return run_gate(o, data, console, [&o](RandomKey key) {
    return comet::DSelectKGate<float>({.input_dim = 2 * o.model.embedding_dim,
                                       .num_experts = o.model.num_experts,
                                       .k = o.k,
                                       .gamma = o.gamma,
                                       .entropy = o.entropy},
                                      key);
  });
}

}  // namespace movielens
