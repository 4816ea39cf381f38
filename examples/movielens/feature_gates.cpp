// SPDX-License-Identifier: MIT
#include <utility>

#include <comet/gates/any.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>

#include <movielens/gate_predictor.hpp>
#include <movielens/run_gate.hpp>

namespace movielens {
namespace {

using FeatureGate = comet::AnyGate<float>;

FeatureGate make_gate(const TrainOptions& o, RandomKey key) {
  const Index features = 2 * o.model.embedding_dim;
  const Index experts = o.model.num_experts;
  const auto tree_like = [&](auto options) {
    options.input_dim = features;
    options.num_experts = experts;
    options.k = o.k;
    options.gamma = o.gamma;
    options.entropy = o.entropy;
    return options;
  };
  if (o.gate == "comet")
    return FeatureGate(comet::CometGate<float>(tree_like(comet::CometGateOptions{}), key));
  if (o.gate == "dselect_k")
    return FeatureGate(comet::DSelectKGate<float>(tree_like(comet::DSelectKGateOptions{}), key));
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
