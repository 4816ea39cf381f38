// SPDX-License-Identifier: MIT
#include <comet/gates/any.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>

#include <movielens/training/gate_predictor.hpp>
#include <movielens/training/run_gate.hpp>

namespace movielens {
namespace {

using FeatureGate = comet::AnyGate<float>;

/// A COMET gate or a DSelect-k gate.
template <class G>
FeatureGate smooth_gate(const TrainOptions& o, RandomKey key) {
  return FeatureGate(G({.input_dim = 2 * o.model.embedding_dim,
                        .num_experts = o.model.num_experts,
                        .k = o.k,
                        .gamma = o.gamma,
                        .entropy = o.entropy},
                       key));
}

FeatureGate make_gate(const TrainOptions& o, RandomKey key) {
  const Index features = 2 * o.model.embedding_dim;
  const Index experts = o.model.num_experts;
  if (o.gate == "comet") return smooth_gate<comet::CometGate<float>>(o, key);
  if (o.gate == "dselect_k") return smooth_gate<comet::DSelectKGate<float>>(o, key);
  if (o.gate == "top_k")
    return FeatureGate(
        comet::TopKGate<float>({.input_dim = features, .num_experts = experts, .k = o.k}, key));
  return FeatureGate(
      comet::SoftmaxGate<float>({.input_dim = features, .num_experts = experts}, key));
}

auto gates_of(const TrainOptions& o) {
  return [&o](RandomKey key) { return make_gate(o, key); };
}

}  // namespace

RunResult run_feature_gate(const TrainOptions& o, const Dataset& data, const Console& console) {
  return run_gate(o, data, console, gates_of(o));
}

std::unique_ptr<Predictor> open_feature_gate(const ModelFile& file) {
  return open_gate(file, gates_of(file.options()));
}

}  // namespace movielens
