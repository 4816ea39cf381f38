// SPDX-License-Identifier: MIT
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <Eigen/Core>

#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/optimizers/adam.hpp>

#include <movielens/model/model.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>

using comet::Index;
using comet::Matrix;
using comet::RandomKey;
using comet::test::Json;
using movielens::ModelOptions;
using movielens::TwoTaskModel;

namespace {

template <class Gate>
std::vector<Gate> gates_for(const Json& c) {
  const Index features = 2 * c.at("embedding_dim").get<Index>();
  const Index experts = c.at("num_experts").get<Index>();
  const Index k = c.at("k").get<Index>();
  std::vector<Gate> gates;
  for (int task = 0; task < 2; ++task) {
    if constexpr (std::is_same_v<Gate, comet::CometGate<typename Gate::Scalar>>)
      gates.push_back(Gate({.input_dim = features,
                            .num_experts = experts,
                            .k = k,
                            .gamma = c.at("gamma").get<double>(),
                            .entropy = c.at("entropy_strength").get<double>()},
                           RandomKey(1)));
    else
      gates.push_back(Gate({.input_dim = features, .num_experts = experts, .k = k}, RandomKey(1)));
  }
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

template <class Gate>
void check_training(const Json& c, double tolerance) {
  using S = typename Gate::Scalar;
  TwoTaskModel<Gate> model({.num_users = c.at("num_users").get<Index>(),
                            .num_items = c.at("num_items").get<Index>(),
                            .embedding_dim = c.at("embedding_dim").get<Index>(),
                            .num_experts = c.at("num_experts").get<Index>(),
                            .expert_dim = c.at("expert_dim").get<Index>(),
                            .head_dim = c.at("head_dim").get<Index>(),
                            .dropout = 0},
                           gates_for<Gate>(c), RandomKey(1));
  model.visit_parameters([&](const auto& name, auto& values, auto&) {
    const Matrix<double> start = reference(c.at("init"), name.str());
    REQUIRE(start.size() == values.size());
    values = start.reshaped(values.rows(), values.cols()).template cast<S>();
  });
  comet::Adam<S> adam({.learning_rate = c.at("learning_rate").get<double>()});
  typename TwoTaskModel<Gate>::Workspace workspace;
  const auto row = [&](const char* name, std::size_t step) -> Matrix<S> {
    const auto values = c.at(name)[step].get<std::vector<S>>();
    return Eigen::Map<const Matrix<S>>(values.data(), 1, Index(values.size()));
  };
  const std::vector<double> losses = c.at("losses").get<std::vector<double>>();
  for (std::size_t step = 0; step < losses.size(); ++step) {
    const auto users = c.at("users")[step].get<std::vector<std::int32_t>>();
    const auto items = c.at("items")[step].get<std::vector<std::int32_t>>();
    const movielens::Loss loss = model.accumulate_gradients(
        users, items, row("watched", step), row("rating", step),
        {.watched = c.at("task_weights")[0], .rating = c.at("task_weights")[1]}, RandomKey(step),
        workspace);
    INFO("step " << step);
    CHECK(loss.total == Approx(losses[step]).epsilon(tolerance));
    if (step == 0)
      model.visit_parameters([&](const auto& name, auto&, auto& gradients) {
        INFO(name.str());
        const Matrix<double> expected = reference(c.at("first_step_grads"), name.str());
        CHECK(comet::test::relative_error(
                  gradients, expected.reshaped(gradients.rows(), gradients.cols())) < tolerance);
      });
    adam.step(model);
  }
  model.visit_parameters([&](const auto& name, auto& values, auto&) {
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
    const std::string gate = c.at("gate");
    INFO("gate " << gate);
    if (gate == "comet")
      check_training<comet::CometGate<TestType>>(c, tolerance);
    else
      check_training<comet::TopKGate<TestType>>(c, tolerance);
  }
}
