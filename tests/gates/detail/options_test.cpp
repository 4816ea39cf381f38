// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <string>

#include <comet/gates/all.hpp>
#include <comet/gates/make_gate.hpp>

using namespace comet;

TEST_CASE("a gate has no more experts than have numbers") {
  for (const std::string_view name : GateFamily<float>::names) {
    CAPTURE(name);
    CHECK_THROWS_WITH(
        make_gate<float>(name, {.input_dim = 2, .num_experts = Index(1) << 31}, RandomKey(1)),
        ContainsSubstring("num_experts is 2147483648, expected at most the largest ExpertId = "
                          "2147483647"));
  }
}

TEST_CASE("an option that the gate's scalar cannot hold is refused") {
  const auto comet_gate = [](auto scalar, CometGateOptions options) {
    options.input_dim = 2, options.num_experts = 4;
    return CometGate<decltype(scalar)>(options, RandomKey(1));
  };
  auto gate = comet_gate(1.0F, {});
  CHECK_THROWS_WITH(gate.anneal({.entropy = 1e300}),
                    "comet::CometGate::anneal: entropy is 1e+300, expected at most the largest "
                    "float = 3.40282e+38");
  CHECK_THROWS_WITH(gate.anneal({.gamma = 1e-320}),
                    ContainsSubstring("gamma is 9.99989e-321, expected at least the smallest float "
                                      "= 1.17549e-38"));
  CHECK(gate.options().gamma == 1);
  CHECK_THROWS_WITH(comet_gate(1.0F, {.spread = 1e39}), ContainsSubstring("spread is 1e+39"));
  CHECK_THROWS_WITH(comet_gate(1.0F, {.split_scale = 1e39}), ContainsSubstring("split_scale is"));
  CHECK_THROWS_WITH(comet_gate(1.0, {.gamma = 1e-320}), ContainsSubstring("the smallest double"));
  CHECK_NOTHROW(comet_gate(1.0, {.gamma = 1e-300, .entropy = 1e300}));
  CHECK_THROWS_WITH(
      TopKGate<float>({.input_dim = 2, .num_experts = 4, .load_balance = 1e39}, RandomKey(1)),
      ContainsSubstring("load_balance is 1e+39"));
  CHECK_THROWS_WITH(
      SampledGate<float>({.input_dim = 2, .num_experts = 4, .temperature = 1e-39}, RandomKey(1)),
      ContainsSubstring("temperature is 1e-39"));
}
