// SPDX-License-Identifier: MIT
// That emitted headers compile and route to the same bits is tested in tests/emitted.
#include <support/catch.hpp>

#include <fstream>
#include <limits>
#include <sstream>
#include <string>

#include <comet/core/make_experts.hpp>
#include <comet/experts/gated_mlp.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/inference/emit_cpp.hpp>
#include <comet/inference/emit_layer.hpp>
#include <comet/inference/freeze.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/moe_layer.hpp>
#include <support/locale.hpp>
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
  CHECK_THAT(text, ContainsSubstring("namespace engine::router {"));
  CHECK_THAT(text, ContainsSubstring("split_weight[] = {\n    0x1.99999ap-4f,};"));
  CHECK_THAT(text, ContainsSubstring("gamma = 0x1p-1f;"));
  CHECK_THAT(text, ContainsSubstring("expert_of_slot[] = {\n    1, 0,};"));
  CHECK_THAT(text, !ContainsSubstring("comet/"));
}

TEST_CASE("a name that is no namespace is refused before anything is written") {
  std::ostringstream out;
  const auto gate = HashGate<float>({0, 1}, 2);
  for (const char* name :
       {"",         "7th",       "a gate",    "a;b",     "a::int",      "a::",      "::a",
        "a::::b",   "x__y",      "std",       "concept", "a::requires", "co_await", "co_return",
        "co_yield", "consteval", "constinit", "char8_t", "char16_t",    "char32_t"})
    CHECK_THROWS_WITH(
        emit_cpp(gate, out, {.name = name}),
        "comet::emit_cpp: name is \"" + std::string(name) + "\", expected a C++ namespace");
  CHECK(out.str().empty());
}

TEST_CASE("a layer that has no form as a header is refused before anything is written") {
  const auto layer = [](Activation activation) {
    return MoeLayer(
        TopKGate<float>({.input_dim = 2, .num_experts = 1, .k = 1}, RandomKey(1)),
        make_experts<MlpExpert<float>>(
            1, {.input_dim = 2, .hidden_dim = 3, .output_dim = 1, .activation = activation},
            RandomKey(2)));
  };
  std::ostringstream out;
  CHECK_THROWS_WITH(emit_cpp(freeze(layer(Activation::gelu)), out),
                    StartsWith("comet::emit_cpp: an expert has gelu or silu"));
  CHECK_THROWS_WITH(emit_cpp(freeze(layer(Activation::relu), Storage::bf16), out),
                    "comet::emit_cpp: the storage is bf16, expected full or int8");
  const MoeLayer gated(
      TopKGate<float>({.input_dim = 2, .num_experts = 1, .k = 1}, RandomKey(1)),
      make_experts<GatedMlpExpert<float>>(
          1, {.input_dim = 2, .hidden_dim = 3, .output_dim = 1, .activation = Activation::relu},
          RandomKey(2)));
  CHECK_THROWS_WITH(
      emit_cpp(freeze(gated), out),
      "comet::emit_cpp: an expert is gated (GatedMlpExpert): a header has no form for it");
  CHECK(out.str().empty());
  std::ofstream closed("/nonexistent/header.hpp");
  const char* not_opened = "comet::emit_cpp: the stream cannot be written to: was its file opened?";
  CHECK_THROWS_WITH(emit_cpp(freeze(layer(Activation::relu)), closed), not_opened);
  CHECK_THROWS_WITH(emit_cpp(freeze(layer(Activation::relu).gates().front()), closed), not_opened);
  CHECK_THROWS_WITH(emit_cpp(HashGate<float>({0, 1}, 2), closed), not_opened);
}

TEST_CASE("numbers that cannot be told apart by decimals are written as they are") {
  TopKGate<double> gate({.input_dim = 4, .num_experts = 1, .k = 1}, RandomKey(1));
  test::parameter(gate, "weight") << -0.0, std::numeric_limits<double>::denorm_min(),
      -std::numeric_limits<double>::max(), 1.0;
  std::ostringstream out;
  emit_cpp(freeze(gate), out);
  // The C library chooses among the ways to write a denormal number.
  const auto with = [](const std::string& denormal) {
    return ContainsSubstring("expert_weight[] = {\n    -0x0p+0, " + denormal +
                             ", -0x1.fffffffffffffp+1023, 0x1p+0,};");
  };
  CHECK_THAT(out.str(), with("0x0.0000000000001p-1022") || with("0x1p-1074"));
}

TEST_CASE("an emitted header is the same in every locale") {
  const auto emit = [] {
    std::ostringstream out;
    const CometGate<double> gate({.input_dim = 1200, .num_experts = 3, .gamma = 1.5}, RandomKey(1));
    emit_cpp(freeze(gate), out);
    emit_cpp(freeze(DSelectKGate<float>({.input_dim = 1200, .num_experts = 3}, RandomKey(1))), out);
    emit_cpp(freeze(TopKGate<float>({.input_dim = 2, .num_experts = 1200}, RandomKey(1))), out);
    emit_cpp(HashGate<double>({.num_experts = 1500, .num_ids = 1500}, RandomKey(1)), out);
    return out.str();
  };
  const std::string expected = emit();
  CHECK_THAT(expected, ContainsSubstring("input_dim = 1200;"));
  CHECK_THAT(expected, ContainsSubstring("num_ids = 1500;"));
  const test::GroupingLocale grouping;
  CHECK(emit() == expected);
}

TEST_CASE("a Hash gate without a table has nothing to be written") {
  std::ostringstream out;
  CHECK_THROWS_WITH(emit_cpp(HashGate<float>({.num_experts = 3}, RandomKey(1)), out),
                    "comet::emit_cpp: the Hash gate's num_ids is 0, expected at least 1");
  CHECK(out.str().empty());
}
