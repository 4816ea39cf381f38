// SPDX-License-Identifier: MIT
// That emitted headers compile and route to the same bits is tested in tests/emitted.
#include <support/catch.hpp>

#include <sstream>
#include <string>

#include <comet/inference/emit_cpp.hpp>
#include <comet/inference/freeze.hpp>
#include <support/model.hpp>

using namespace comet;

TEST_CASE("numbers are written exactly and experts are those after the permutation") {
  CometGate<float> gate({.input_dim = 1, .num_experts = 2, .k = 1, .gamma = 0.5}, RandomKey(1));
  test::parameter(gate, "split.weight")(0, 0) = 0.1F;
  PermutedGate permuted(gate);
  permuted.set_permutation(Permutation({1, 0}));
  std::ostringstream out;
  emit_cpp(freeze(permuted), out, {.name = "engine::router"});
  const std::string text = out.str();
  CHECK_THAT(text, Catch::Contains("namespace engine::router {"));
  CHECK_THAT(text, Catch::Contains("split_weight[] = {\n    0x1.99999ap-4f,};"));
  CHECK_THAT(text, Catch::Contains("gamma = 0x1p-1f;"));
  CHECK_THAT(text, Catch::Contains("expert_of_leaf[] = {\n    1, 0,};"));
  CHECK_THAT(text, !Catch::Contains("comet/"));
}

TEST_CASE("a name that is no namespace is refused before anything is written") {
  std::ostringstream out;
  const auto gate = HashGate<float>({0, 1}, 2);
  for (const char* name : {"", "7th", "a gate", "a;b"})
    CHECK_THROWS_WITH(
        emit_cpp(gate, out, {.name = name}),
        "comet::emit_cpp: name is \"" + std::string(name) + "\", expected a C++ namespace");
  CHECK(out.str().empty());
}
