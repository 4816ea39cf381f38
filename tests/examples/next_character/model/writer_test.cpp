// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/make_gate.hpp>

#include <next_character/data/alphabet.hpp>
#include <next_character/model/build_model.hpp>
#include <next_character/model/cost.hpp>
#include <next_character/model/model.hpp>
#include <next_character/model/specialisation.hpp>
#include <next_character/model/train_options.hpp>
#include <next_character/model/writer.hpp>

#include <support/catch.hpp>

using namespace programs::next_character;

namespace {

TrainOptions small(const std::string& gate, Index experts = 5) {
  TrainOptions options;
  options.gate = gate;
  options.model = {
      .window = 3, .embedding_dim = 2, .hidden_dim = 6, .num_experts = experts, .expert_dim = 4};
  return options;
}

/// Ids of windows of three, and what stands at their ends.
struct Ids {
  std::vector<std::int32_t> before, last;
  explicit Ids(std::size_t samples) {
    for (std::size_t i = 0; i < 3 * samples; ++i) before.push_back(std::int32_t(i * i % 4));
    for (std::size_t b = 0; b < samples; ++b) last.push_back(before[3 * b + 2]);
  }
};

}  // namespace

TEST_CASE("build_model: every gate of the library, and dense networks of three widths",
          "[next_character][model]") {
  const std::vector<std::int64_t> frequency = {4, 3, 2, 1};
  const Ids ids(9);
  for (const std::string& row : row_names()) {
    INFO(row);
    TrainOptions options = small(row);
    options.k = 2;
    const Model model = build_model(options, frequency);
    Model::Pass pass(model);
    const auto logits = model.predict(ids.before, ids.last, pass);
    CHECK(logits.rows() == 4);
    CHECK(logits.allFinite());
    CHECK(model.mixture().num_experts() == (is_dense(row) ? 1 : 5));
    const Index width = model.mixture().experts().front().hidden_dim();
    CHECK(width == (row == dense ? 8 : row == dense_wide ? 16 : row == dense_all ? 20 : 4));
  }
  TrainOptions wide = small(dense_wide);
  wide.dense_dim = 7;
  CHECK(build_model(wide, frequency).mixture().experts().front().hidden_dim() == 7);
}

TEST_CASE("MixtureCost: experts by their entries, a gate by the planes it looks at",
          "[next_character][model]") {
  const std::vector<std::int64_t> frequency = {4, 3, 2, 1};
  const Ids ids(8);
  const auto cost_of = [&](const Model& model) {
    Model::Pass pass(model);
    (void)model.predict(ids.before, ids.last, pass);
    MixtureCost cost;
    cost.add(model, pass);
    return cost.per_sample();
  };
  const double expert = 4 * (6 + 6);
  CHECK(cost_of(build_model(small("dense"), frequency)) == expert);
  CHECK(cost_of(build_model(small("hash"), frequency)) == expert);
  CHECK(cost_of(build_model(small("top_k"), frequency)) == expert + 5 * 6);
  // A new COMET gate reaches every split and leaf.
  CHECK(cost_of(build_model(small("comet"), frequency)) == 5 * expert + (4 + 5) * 6);
  for (const Index experts : {2, 5, 8}) {
    TrainOptions options = small("comet", experts);
    options.k = 2;
    Model model = build_model(options, frequency);
    CHECK(cost_of(model) == double(experts) * expert + 2 * double(2 * experts - 1) * 6);
    // One that has decided for the first leaf of both trees: a path and a leaf each.
    comet::for_each_parameter(model, [](const auto& name, auto& values) {
      if (name.str() == "gates.0.split.bias") values.setConstant(10);
    });
    const double depth = std::ceil(std::log2(double(experts)));
    CHECK(cost_of(model) == expert + 2 * (depth + 1) * 6);
  }
}

TEST_CASE("Writer: a function of beginning, key and temperature; unknown bytes are never written",
          "[next_character][model]") {
  const Alphabet alphabet("\nabcd");
  std::vector<std::int64_t> frequency(std::size_t(alphabet.size()), 1);
  Model model = build_model(small("comet"), frequency);
  // The symbol of unknown bytes is by far the likeliest, then 'c'.
  comet::for_each_parameter(model, [](const auto& name, auto& values) {
    if (name.str() == "output.bias") values.col(0) << 0, 0, 0, 5, 0, 50;
  });
  const comet::RandomKey key(1);
  const auto written = [&](double temperature, comet::RandomKey k, const char* beginning = "a") {
    return Writer(model, alphabet, 3, {.temperature = temperature}).write(beginning, 50, k);
  };
  CHECK(written(0, key) == std::string(50, 'c'));
  CHECK(written(0.1, key) == std::string(50, 'c'));
  const std::string warm = written(20, key);
  CHECK(warm.size() == 50);
  CHECK(warm.find_first_not_of("\nabcd") == std::string::npos);
  CHECK(warm.find('a') != std::string::npos);
  CHECK(warm == written(20, key));
  CHECK(warm != written(20, comet::RandomKey(2)));
  CHECK(Writer(model, alphabet, 3, {}).write("zzzzzz", 0, key).empty());
}

TEST_CASE("specialisation_of: what a kind of place says of the expert", "[next_character][model]") {
  std::vector<PlaceRow> rows;
  std::vector<KindOfPlace> kinds;
  for (int i = 0; i < 4000; ++i) {
    const bool is_name = i % 4 == 0;
    rows.push_back({.experts = {is_name ? 0 : 1}, .weights = {1}});
    kinds.push_back(is_name ? KindOfPlace::name : KindOfPlace::comment);
  }
  const Specialisation told = specialisation_of(rows, kinds, 3, comet::RandomKey(1));
  CHECK(told.share[std::size_t(KindOfPlace::name)] == std::vector<double>{0.25, 0, 0});
  CHECK(told.share[std::size_t(KindOfPlace::comment)] == std::vector<double>{0, 0.75, 0});
  CHECK(told.mutual_information == Approx(0.811278124459));  // the entropy of 1/4 and 3/4
  CHECK(told.of_shuffled_rows < 0.01);
  rows.front() = {.experts = {0, 2}, .weights = {0.25F, 0.75F}};
  CHECK(rows.front().first() == 2);
  CHECK(PlaceRow{}.first() == -1);
}
