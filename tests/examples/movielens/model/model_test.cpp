// SPDX-License-Identifier: MIT
#include <algorithm>
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

#include <movielens/model/build_model.hpp>
#include <movielens/model/model.hpp>
#include <movielens/model/train_options.hpp>
#include <programs/base/kinds.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>

using comet::Index;
using comet::Matrix;
using comet::RandomKey;
using comet::test::Json;
using programs::movielens::ModelOptions;
using programs::movielens::TwoTaskModel;

namespace {

template <class S>
std::vector<typename TwoTaskModel<S>::Gate> gates_for(const Json& c) {
  comet::GateOptions options{.input_dim = 2 * c.at("embedding_dim").get<Index>(),
                             .num_experts = c.at("num_experts").get<Index>(),
                             .k = c.at("k").get<Index>()};
  const std::string gate = c.at("gate");
  if (gate == "comet") {
    options.gamma = c.at("gamma").get<double>();
    options.entropy = c.at("entropy_strength").get<double>();
  }
  std::vector<typename TwoTaskModel<S>::Gate> gates;
  for (std::size_t task = 0; task < TwoTaskModel<S>::num_tasks; ++task)
    gates.emplace_back(comet::make_gate<S>(gate, options, RandomKey(1)));
  return gates;
}

/// The tensor that the reference has for one of ours; experts are columns of one tensor there.
Matrix<double> reference(const Json& tensors, const std::string& name) {
  const auto part = [&](std::size_t i) {
    std::string rest = name;
    for (; i > 0; --i) rest.erase(0, rest.find('.') + 1);
    return rest.substr(0, rest.find('.'));
  };
  if (name == "user_embedding.weight" || name == "item_embedding.weight")
    return comet::test::matrix(tensors.at(part(0)));
  if (part(0) == "experts") {
    const Matrix<double> all = comet::test::matrix(tensors.at("expert_" + part(2)));
    const Index expert = std::stoi(part(1));
    if (part(2) == "bias") return all.col(expert);
    const Index width = tensors.at("expert_weight").at("shape")[1].get<Index>();
    return all.middleCols(expert * width, width);
  }
  std::string theirs;
  if (part(0) == "gates") {
    theirs = "gate" + part(1) + name.substr(part(0).size() + 1 + part(1).size());
    for (char& c : theirs)
      if (c == '.') c = '_';
  } else {
    theirs = "head" + part(1) + (part(2) == "hidden" ? "_dense1_" : "_dense2_") + part(3);
  }
  return comet::test::matrix(tensors.at(theirs));
}

template <class S>
void check_training(const Json& c, double tolerance) {
  TwoTaskModel<S> model({.num_users = c.at("num_users").get<Index>(),
                         .num_items = c.at("num_items").get<Index>(),
                         .embedding_dim = c.at("embedding_dim").get<Index>(),
                         .num_experts = c.at("num_experts").get<Index>(),
                         .expert_dim = c.at("expert_dim").get<Index>(),
                         .head_dim = c.at("head_dim").get<Index>(),
                         .dropout = 0},
                        gates_for<S>(c), RandomKey(1));
  comet::for_each_parameter(model, [&](const auto& name, auto& values) {
    const Matrix<double> start = reference(c.at("init"), name.str());
    REQUIRE(start.size() == values.size());
    values = start.reshaped(values.rows(), values.cols()).template cast<S>();
  });
  comet::Adam adam(model, {.learning_rate = c.at("learning_rate").get<double>()});
  comet::Pass pass(model);
  const auto row = [&](const char* name, std::size_t step) -> Matrix<S> {
    const auto values = c.at(name)[step].get<std::vector<S>>();
    return Eigen::Map<const Matrix<S>>(values.data(), 1, Index(values.size()));
  };
  const std::vector<double> losses = c.at("losses").get<std::vector<double>>();
  for (std::size_t step = 0; step < losses.size(); ++step) {
    const auto users = c.at("users")[step].get<std::vector<std::int32_t>>();
    const auto items = c.at("items")[step].get<std::vector<std::int32_t>>();
    const programs::movielens::Loss loss = model.accumulate_gradients(
        users, items, row("watched", step), row("rating", step),
        {.watched = c.at("task_weights")[0], .rating = c.at("task_weights")[1]}, RandomKey(step),
        pass);
    INFO("step " << step);
    CHECK(loss.total == Approx(losses[step]).epsilon(tolerance));
    if (step == 0) {
      Index tensor = 0;
      comet::for_each_parameter(model, [&](const auto& name, const auto& values) {
        INFO(name.str());
        const Matrix<S> gradient = pass.gradients(model)[tensor++];
        const Matrix<double> expected = reference(c.at("first_step_grads"), name.str());
        CHECK(comet::test::relative_error(
                  gradient, expected.reshaped(values.rows(), values.cols())) < tolerance);
      });
    }
    adam.step(model, pass);
  }
  comet::for_each_parameter(model, [&](const auto& name, const auto& values) {
    INFO(name.str());
    const Matrix<double> expected = reference(c.at("final"), name.str());
    CHECK(comet::test::relative_error(values, expected.reshaped(values.rows(), values.cols())) <
          tolerance);
  });
}

}  // namespace

TEMPLATE_TEST_CASE("TwoTaskModel: five Adam steps as an independent reference takes them",
                   "[movielens][model][golden]", COMET_TEST_SCALARS) {
  const double tolerance = std::is_same_v<TestType, double> ? 1e-9 : 1e-4;
  for (const Json& c : comet::test::golden("two_task_training.json")) {
    INFO("gate " << c.at("gate"));
    check_training<TestType>(c, tolerance);
  }
}

TEST_CASE("TwoTaskModel: with every gate of the library; a prediction touches no gradient",
          "[movielens][model]") {
  programs::movielens::TrainOptions options;
  options.model = {.embedding_dim = 4, .num_experts = 3, .expert_dim = 5, .head_dim = 4};
  const std::vector<std::int64_t> frequency = {3, 1, 2};
  for (const std::string& gate : programs::gate_names()) {
    INFO(gate);
    options.gate = gate;
    const programs::movielens::Model model =
        programs::movielens::build_model(options, 2, frequency);
    CHECK(model.gates().front().name() == gate);
    comet::Gradients<float> gradients(model);
    const std::vector<std::int32_t> users = {0, 1, 1, 0}, items = {2, 0, 1, 0};
    const Matrix<float> watched = Matrix<float>::Ones(1, 4), rating = watched * 3;
    programs::movielens::Model::Pass pass(model, gradients.view());
    (void)model.predict(users, items, pass);
    CHECK(std::all_of(gradients.values().begin(), gradients.values().end(),
                      [](float value) { return value == 0; }));
    model.accumulate_gradients(users, items, watched, rating, {}, RandomKey(1), pass);
    CHECK(std::any_of(gradients.values().begin(), gradients.values().end(),
                      [](float value) { return value != 0; }));
  }
}

TEST_CASE("TwoTaskModel: dense networks of the cost of k experts", "[movielens][model]") {
  programs::movielens::TrainOptions options;
  options.k = 2;
  options.model = {.embedding_dim = 4, .num_experts = 5, .expert_dim = 3, .head_dim = 4};
  const std::vector<std::int64_t> frequency = {3, 1, 2};
  const auto experts_of = [&](const char* row) {
    options.gate = row;
    const auto model = programs::movielens::build_model(options, 2, frequency);
    programs::movielens::Model::Pass pass(model);
    const std::vector<std::int32_t> users = {0, 1}, items = {2, 0};
    (void)model.predict(users, items, pass);
    std::vector<std::vector<comet::ExpertId>> experts;
    for (Index task = 0; task < 2; ++task) {
      const auto row_of = pass.workspace.mixture().routing(task).experts(1);
      experts.emplace_back(row_of.begin(), row_of.end());
    }
    return experts;
  };
  using Rows = std::vector<std::vector<comet::ExpertId>>;
  CHECK(experts_of(programs::dense) == Rows{{0, 1}, {0, 1}});
  CHECK(experts_of(programs::dense_per_task) == Rows{{0, 1}, {2, 3}});
}
