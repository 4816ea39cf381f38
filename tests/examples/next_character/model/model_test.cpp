// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <Eigen/Core>

#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/optimizers/clip_by_global_norm.hpp>

#include <next_character/model/model.hpp>
#include <next_character/model/optimizer.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>

using comet::Index;
using comet::Matrix;
using comet::RandomKey;
using comet::test::Json;
using programs::next_character::NextCharacterModel;

namespace {

template <class S>
typename NextCharacterModel<S>::Gate gate_for(const Json& c) {
  const std::string gate = c.at("gate");
  comet::GateOptions options{.input_dim = c.at("hidden").get<Index>(),
                             .num_experts = c.at("num_experts").get<Index>(),
                             .k = c.at("k").get<Index>()};
  if (gate == "comet") {
    options.gamma = c.at("gamma").get<double>();
    options.entropy = c.at("entropy_strength").get<double>();
    options.spread = c.at("spread").get<double>();
  } else {
    options.softmax = comet::TopKSoftmax::all;
    options.load_balance = c.at("load_penalty").get<double>();
  }
  return typename NextCharacterModel<S>::Gate(comet::make_gate<S>(gate, options, RandomKey(1)));
}

/// What the reference calls a tensor of ours; experts are parts of one tensor there.
std::string their_name(const std::string& name) {
  if (name == "embedding.weight") return "embedding";
  if (name == "norm.weight") return "norm1_scale";
  if (name == "norm.bias") return "norm1_shift";
  if (name == "output_norm.weight") return "norm2_scale";
  if (name == "output_norm.bias") return "norm2_shift";
  std::string theirs = name;
  for (char& c : theirs)
    if (c == '.') c = '_';
  if (theirs.starts_with("gates_0_")) return "gate_" + theirs.substr(8);
  if (!theirs.starts_with("experts_")) return theirs;
  const std::string part = name.substr(name.find('.', 8) + 1);
  return part == "hidden.weight"   ? "expert_w1"
         : part == "hidden.bias"   ? "expert_b1"
         : part == "output.weight" ? "expert_w2"
                                   : "expert_b2";
}

/// The tensor that the reference has for one of ours, in our rows and columns.
Matrix<double> reference(const Json& tensors, const std::string& name, Index rows, Index cols) {
  const Matrix<double> all = comet::test::matrix(tensors.at(their_name(name)));
  if (!name.starts_with("experts.")) return all.reshaped(rows, cols);
  const Index expert = std::stoi(name.substr(8));
  return all.middleCols(expert * cols, cols);
}

template <class Part>
void check_tensors(const Json& expected, const Part& model, double tolerance, auto actual) {
  Index tensor = 0;
  comet::for_each_parameter(model, [&](const auto& name, const auto& values) {
    INFO(name.str());
    CHECK(comet::test::relative_error(
              actual(tensor++, values),
              reference(expected, name.str(), values.rows(), values.cols())) < tolerance);
  });
}

/// The ids of a step: [b, window + 1], the last is the target.
struct Ids {
  std::vector<std::int32_t> windows, last, next;

  explicit Ids(const Json& rows) {
    for (const Json& row : rows) {
      const auto ids = row.get<std::vector<std::int32_t>>();
      windows.insert(windows.end(), ids.begin(), ids.end() - 1);
      last.push_back(ids[ids.size() - 2]);
      next.push_back(ids.back());
    }
  }
};

template <class S>
void check_training(const Json& c, double tolerance) {
  NextCharacterModel<S> model({.symbols = c.at("symbols").get<Index>(),
                               .window = c.at("window").get<Index>(),
                               .embedding_dim = c.at("embedding_dim").get<Index>(),
                               .hidden_dim = c.at("hidden").get<Index>(),
                               .num_experts = c.at("num_experts").get<Index>(),
                               .expert_dim = c.at("expert_hidden").get<Index>()},
                              gate_for<S>(c), RandomKey(1));
  comet::for_each_parameter(model, [&](const auto& name, auto& values) {
    values = reference(c.at("init"), name.str(), values.rows(), values.cols()).template cast<S>();
  });
  const Json& settings = c.at("adamw");
  comet::AdamW<S> adam(model, {.learning_rate = settings.at("learning_rate").get<double>(),
                               .weight_decay = settings.at("weight_decay").get<double>(),
                               .groups = programs::next_character::undecayed()});
  comet::Pass pass(model);
  for (std::size_t step = 0; step < c.at("steps").size(); ++step) {
    INFO("step " << step);
    const Ids ids(c.at("ids")[step]);
    const auto loss =
        model.accumulate_gradients(ids.windows, ids.last, ids.next, RandomKey(step), pass);
    const Json& expected = c.at("steps")[step];
    CHECK(loss.cross_entropy ==
          Approx(expected.at("cross_entropy").get<double>()).epsilon(tolerance));
    CHECK(loss.penalty == Approx(expected.at("regularizer").get<double>()).epsilon(tolerance));
    const auto& ws = pass.workspace;
    CHECK(ws.mixture().routing().num_entries() == expected.at("nonzero_weights").get<Index>());
    if (step == 0) {
      const Json& first = c.at("first_step");
      const auto near = [&](const auto& actual, const char* name) {
        INFO(name);
        CHECK(comet::test::relative_error(actual, comet::test::matrix(first.at(name))) < tolerance);
      };
      near(ws.hidden(), "hidden");
      near(ws.mixture().routing().dense(model.mixture().num_experts()), "gate_weights");
      near(ws.logits(), "logits");
      check_tensors(first.at("grads"), model, tolerance,
                    [&](Index i, const auto&) -> Matrix<S> { return pass.gradients(model)[i]; });
    }
    // The reference divides by |g| + 1e-6 where it shortens g, the library by |g|.
    const double most = settings.at("clip_norm").get<double>();
    const double norm = comet::clip_by_global_norm(pass.gradients(model), 1e9);
    CHECK(norm == Approx(expected.at("gradient_norm").get<double>()).epsilon(tolerance));
    if (norm > most) comet::clip_by_global_norm(pass.gradients(model), most * norm / (norm + 1e-6));
    adam.step(model, pass);
  }
  check_tensors(c.at("final"), model, tolerance, [](Index, const auto& values) { return values; });
}

}  // namespace

TEMPLATE_TEST_CASE("NextCharacterModel: five AdamW steps as an independent reference takes them",
                   "[next_character][model][golden]", COMET_TEST_SCALARS) {
  const double tolerance = std::is_same_v<TestType, double> ? 1e-9 : 1e-4;
  for (const Json& c : comet::test::golden("next_character.json")) {
    INFO("gate " << c.at("gate") << ", spread " << c.at("spread"));
    check_training<TestType>(c, tolerance);
  }
}
