// SPDX-License-Identifier: MIT
// Five Adam steps of the two-task model against numbers of an independent reference.
#include <string>
#include <vector>

#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/optimizers/adam.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>
#include <support/two_task_model.hpp>

using namespace comet;
using comet::test::Json;

namespace {

/// The part of a golden tensor that is our tensor `name`, in the shape of our tensor.
template <class S>
Matrix<S> part_of(const Json& tensors, const std::string& name, Index rows, Index cols) {
  const auto take = [&](const std::string& golden_name, Index part) {
    const Matrix<S> all = test::matrix<S>(tensors.at(golden_name));
    REQUIRE((part + 1) * rows * cols <= all.size());
    return Matrix<S>(Eigen::Map<const Matrix<S>>(all.data() + part * rows * cols, rows, cols));
  };
  const std::string leaf = name.substr(name.rfind('.') + 1);
  if (name == "users.weight") return take("user_embedding", 0);
  if (name == "items.weight") return take("item_embedding", 0);
  if (name.starts_with("mixture.experts."))
    return take("expert_" + leaf, std::stoi(name.substr(std::string("mixture.experts.").size())));
  if (name.starts_with("mixture.gates.")) {
    const char task = name[std::string("mixture.gates.").size()];
    const char* group = name.find(".split.") != std::string::npos  ? "_split_"
                        : name.find(".leaf.") != std::string::npos ? "_leaf_"
                                                                   : "_";
    return take(std::string("gate") + task + group + leaf, 0);
  }
  const char task = name[std::string("hidden.").size()];
  return take(
      std::string("head") + task + (name.starts_with("hidden") ? "_dense1_" : "_dense2_") + leaf,
      0);
}

std::vector<std::int32_t> ids(const Json& list) { return list.get<std::vector<std::int32_t>>(); }

template <class S>
Matrix<S> row(const Json& list) {
  const auto values = list.get<std::vector<double>>();
  return Eigen::Map<const Matrix<double>>(values.data(), 1, Index(values.size())).cast<S>();
}

template <class Gate>
void check_case(const Json& c, Gate gate) {
  using S = typename Gate::Scalar;
  const double tolerance = std::is_same_v<S, double> ? 1e-9 : 1e-4;
  const auto size = [&](const char* name) { return c.at(name).get<Index>(); };
  test::TwoTaskModel<Gate> model({size("num_users"), size("num_items"), size("embedding_dim"),
                                  size("num_experts"), size("expert_dim"), size("head_dim")},
                                 std::vector<Gate>(2, gate), RandomKey(0));
  model.visit_parameters([&](const ParameterName& name, auto& values, auto&) {
    values = part_of<S>(c.at("init"), name.str(), values.rows(), values.cols());
  });

  Adam<S> adam({.learning_rate = c.at("learning_rate").get<double>(),
                .beta1 = c.at("adam").at("beta1").get<double>(),
                .beta2 = c.at("adam").at("beta2").get<double>(),
                .epsilon = c.at("adam").at("epsilon").get<double>()});
  const auto weights = c.at("task_weights").get<std::vector<double>>();
  const auto losses = c.at("losses").get<std::vector<double>>();
  REQUIRE(losses.size() == 5);
  for (std::size_t step = 0; step < losses.size(); ++step) {
    const S loss = model.backward(ids(c.at("users")[step]), ids(c.at("items")[step]),
                                  row<S>(c.at("watched")[step]), row<S>(c.at("rating")[step]),
                                  S(weights[0]), S(weights[1]), RandomKey(1));
    INFO("step " << step);
    CHECK(std::abs(double(loss) - losses[step]) <= tolerance * std::abs(losses[step]));
    if (step == 0)
      model.visit_parameters([&](const ParameterName& name, auto&, auto& gradients) {
        INFO("gradient of " << name.str());
        CHECK(test::relative_error(
                  gradients, part_of<double>(c.at("first_step_grads"), name.str(), gradients.rows(),
                                             gradients.cols())) <= tolerance);
      });
    adam.step(model);
  }
  model.visit_parameters([&](const ParameterName& name, auto& values, auto&) {
    INFO(name.str() << " after the last step");
    CHECK(test::relative_error(values, part_of<double>(c.at("final"), name.str(), values.rows(),
                                                       values.cols())) <= tolerance);
  });
}

}  // namespace

TEMPLATE_TEST_CASE("two-task training matches the reference for five Adam steps", "[golden]",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  int comet_cases = 0;
  int top_k_cases = 0;
  for (const Json& c : test::golden("two_task_training.json")) {
    const std::string gate = c.at("gate");
    CAPTURE(gate);
    const auto input_dim = 2 * c.at("embedding_dim").get<Index>();
    const auto num_experts = c.at("num_experts").get<Index>();
    const auto k = c.at("k").get<Index>();
    if (gate == "comet") {
      ++comet_cases;
      check_case(c, CometGate<S>({.input_dim = input_dim,
                                  .num_experts = num_experts,
                                  .k = k,
                                  .gamma = c.at("gamma").get<double>(),
                                  .entropy = c.at("entropy_strength").get<double>()},
                                 RandomKey(0)));
    } else {
      ++top_k_cases;
      check_case(c, TopKGate<S>({.input_dim = input_dim, .num_experts = num_experts, .k = k},
                                RandomKey(0)));
    }
  }
  CHECK(comet_cases == 1);
  CHECK(top_k_cases == 1);
}
