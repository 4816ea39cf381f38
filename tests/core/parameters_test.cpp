// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include <comet/core/parameters.hpp>

#include <support/catch.hpp>

using comet::Index;
using comet::Matrix;
using comet::Parameter;
using comet::ParameterName;

namespace {

struct Part {
  using Scalar = double;
  Parameter<double> weight{2, 3};
  Parameter<double> bias{3, 1};

  template <class F>
  void visit_parameters(F&& f) {
    weight.visit("weight", f);
    bias.visit("bias", f);
  }
};

struct Model {
  using Scalar = double;
  std::vector<Part> layers = std::vector<Part>(2);
  Part head;

  template <class F>
  void visit_parameters(F&& f) {
    comet::visit_parts("layers", layers, f);
    comet::visit_part("head", head, f);
  }
};

struct Nested {
  using Scalar = double;
  std::vector<Model> models = std::vector<Model>(12);

  template <class F>
  void visit_parameters(F&& f) {
    comet::visit_parts("models", models, f);
  }
};

template <class M>
std::vector<std::string> names_of(M& model) {
  std::vector<std::string> names;
  model.visit_parameters(
      [&](const ParameterName& name, auto&, auto&) { names.push_back(name.str()); });
  return names;
}

}  // namespace

TEST_CASE("names tell the way to a tensor") {
  const ParameterName leaf("weight");
  CHECK(leaf.str() == "weight");
  CHECK(ParameterName("gate", leaf).str() == "gate.weight");
  const ParameterName numbered("experts", 12, leaf);
  CHECK(ParameterName("mixture", numbered).str() == "mixture.experts.12.weight");
  CHECK(ParameterName(std::string_view("bias")).str() == "bias");
}

TEST_CASE("parts are visited in order, each under its name") {
  Model model;
  CHECK(names_of(model) == std::vector<std::string>{"layers.0.weight", "layers.0.bias",
                                                    "layers.1.weight", "layers.1.bias",
                                                    "head.weight", "head.bias"});
  Nested nested;
  const auto names = names_of(nested);
  CHECK(names.size() == 72);
  CHECK(names.back() == "models.11.head.bias");
  CHECK(names == names_of(nested));
}

TEST_CASE("visitors reach values and gradients themselves") {
  Model model;
  CHECK(comet::count_parameters(model) == 3 * 9);
  model.visit_parameters([](const ParameterName&, auto& values, auto& gradients) {
    CHECK(values.isZero(0));
    CHECK(gradients.isZero(0));
    values.setConstant(2);
    gradients.setConstant(3);
  });
  CHECK(model.layers[1].bias.values == Matrix<double>::Constant(3, 1, 2));
  CHECK(model.head.weight.gradients == Matrix<double>::Constant(2, 3, 3));
  comet::zero_gradients(model);
  CHECK(model.head.weight.gradients.isZero(0));
  CHECK(model.head.weight.values == Matrix<double>::Constant(2, 3, 2));
}
