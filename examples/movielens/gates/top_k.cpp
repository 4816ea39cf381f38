// SPDX-License-Identifier: MIT
#include <comet/gates/top_k.hpp>

#include <movielens/run_gate.hpp>

namespace movielens {

RunResult run_top_k(const TrainOptions& o, const Dataset& data, const Console& console) {
  return run_gate(o, data, console, [&o](RandomKey key) {
    return comet::TopKGate<float>(
        {.input_dim = 2 * o.model.embedding_dim, .num_experts = o.model.num_experts, .k = o.k},
        key);
  });
}

}  // namespace movielens
