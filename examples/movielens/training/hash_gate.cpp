// SPDX-License-Identifier: MIT
#include <cstdint>
#include <vector>

#include <comet/gates/hash.hpp>

#include <movielens/training/gate_predictor.hpp>
#include <movielens/training/run_gate.hpp>

namespace movielens {

/// Movies are spread over the experts so that each serves as many training rows.
RunResult run_hash_gate(const TrainOptions& o, const Dataset& data, const Console& console) {
  std::vector<std::int64_t> frequency(std::size_t(data.rows.num_items), 0);
  for (const std::int32_t item : data.rows.train.item) ++frequency[std::size_t(item)];
  return run_gate(o, data, console, [&](RandomKey) {
    return comet::HashGate<float>::balanced(frequency, o.model.num_experts);
  });
}

/// The tables are in the file; until they are loaded, every movie goes to the first expert.
std::unique_ptr<Predictor> open_hash_gate(const ModelFile& file) {
  return open_gate(file, [&](RandomKey) {
    return comet::HashGate<float>(
        std::vector<comet::ExpertId>(std::size_t(file.model().num_items), 0),
        file.model().num_experts);
  });
}

}  // namespace movielens
