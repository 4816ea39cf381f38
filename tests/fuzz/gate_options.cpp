// SPDX-License-Identifier: MIT
// Settings of gates: refused as a wrong argument, or a gate whose rows keep the laws and whose
// backward() stays in its memory.
#include <cmath>
#include <span>
#include <stdexcept>
#include <vector>

#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>

#include <fuzz/fuzz.hpp>

namespace {

using comet::Index;
using comet::Matrix;
using comet::RandomKey;
using comet::fuzz::expect;
using Bytes = comet::fuzz::Bytes;
using Routing = comet::Routing<double>;

void check_rows(const Routing& routing, Index num_experts, Index num_samples, Index longest) {
  routing.validate("fuzz", num_experts, num_samples);
  for (Index b = 0; b < num_samples; ++b) {
    expect(Index(routing.experts(b).size()) <= longest, "a row is no longer than promised");
    double sum = 0;
    for (const double weight : routing.weights(b)) {
      expect(weight >= 0, "weights are not negative");
      sum += weight;
    }
    expect(sum <= 1 + 1e-12, "weights sum to at most 1");
  }
}

template <class Gate>
void check_features(Gate gate, Bytes& bytes) {
  const Index num_samples = bytes.between(0, 5);
  Matrix<double> x(gate.input_dim(), num_samples);
  bool moderate = true;
  // The first weights are as large as gamma, and products with huge ones are refused.
  if constexpr (requires { gate.options().gamma; }) moderate = gate.options().gamma <= 1e6;
  for (Index i = 0; i < x.size(); ++i) {
    x.data()[i] = bytes.number<double>();
    moderate = moderate && std::abs(x.data()[i]) <= 1e6;
  }
  comet::Pass<Gate> pass(gate);
  Routing routing;
  try {
    gate.route(x, routing, pass);
    check_rows(routing, gate.num_experts(), num_samples, gate.max_active());
    gate.forward(x, routing, RandomKey(1), pass);
    routing.validate("fuzz", gate.num_experts(), num_samples);
    const std::vector<double> dweights(std::size_t(routing.num_entries()), 1.0);
    Matrix<double> dx = Matrix<double>::Zero(x.rows(), x.cols());
    gate.backward(x, routing, dweights, dx, pass);
  } catch (const comet::NotFinite&) {
    expect(!moderate, "moderate inputs are routed");
  }
}

/// The gate of these settings; what they refuse is the end of it.
template <class Gate, class Options>
void try_options(const Options& options, Bytes& bytes) {
  try {
    Gate gate(options, RandomKey(7));
    check_features(std::move(gate), bytes);
  } catch (const std::invalid_argument&) {
  }
}

void try_hash(Bytes& bytes) {
  comet::HashGateOptions settings;
  settings.num_ids = bytes.between(-2, 64);
  settings.num_experts = bytes.between(-2, 64);
  try {
    const comet::HashGate<double> gate(settings, RandomKey(7));
    std::vector<std::int32_t> ids(static_cast<std::size_t>(bytes.between(0, 5)));
    bool known = true;
    for (std::int32_t& id : ids) {
      id = std::int32_t(bytes.take<std::int8_t>());
      known = known && id >= 0 && (gate.num_ids() == 0 || id < gate.num_ids());
    }
    comet::Pass<comet::HashGate<double>> pass(gate);
    Routing routing;
    const Matrix<double> x(0, Index(ids.size()));
    try {
      gate.route(comet::Samples{x, ids}, routing, pass);
      expect(known, "ids that are unknown are refused");
      check_rows(routing, gate.num_experts(), Index(ids.size()), 1);
    } catch (const std::invalid_argument&) {
      expect(!known, "ids that are known are routed");
    }
  } catch (const std::invalid_argument&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  const Index kind = bytes.between(0, 4);
  if (kind == 4) {
    try_hash(bytes);
    return 0;
  }
  const Index input_dim = bytes.between(-1, 9);
  const Index num_experts = bytes.between(-2, 64);
  const Index k = bytes.between(0, 3) == 0 ? bytes.between(-2, 64) : bytes.between(0, 4);
  if (kind == 0)
    try_options<comet::CometGate<double>>(
        comet::CometGateOptions{.input_dim = input_dim,
                                .num_experts = num_experts,
                                .k = k,
                                .gamma = bytes.number<double>(),
                                .entropy = bytes.number<double>()},
        bytes);
  if (kind == 1)
    try_options<comet::DSelectKGate<double>>(
        comet::DSelectKGateOptions{.input_dim = input_dim,
                                   .num_experts = num_experts,
                                   .k = k,
                                   .gamma = bytes.number<double>(),
                                   .entropy = bytes.number<double>(),
                                   .reachability = bytes.number<double>()},
        bytes);
  if (kind == 2)
    try_options<comet::TopKGate<double>>(
        comet::TopKGateOptions{.input_dim = input_dim,
                               .num_experts = num_experts,
                               .k = k,
                               .softmax = comet::TopKSoftmax(bytes.between(0, 1)),
                               .noise = bytes.between(0, 1) == 1,
                               .load_balance = bytes.number<double>(),
                               .importance = bytes.number<double>(),
                               .router_z = bytes.number<double>()},
        bytes);
  if (kind == 3)
    try_options<comet::SoftmaxGate<double>>(
        comet::SoftmaxGateOptions{.input_dim = input_dim, .num_experts = num_experts}, bytes);
  return 0;
}
