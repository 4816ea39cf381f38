// SPDX-License-Identifier: MIT
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/parameters.hpp>

#include <support/catch.hpp>

using comet::for_each_parameter;
using comet::Index;
using comet::Matrix;
using comet::Parameter;
using comet::ParameterName;

namespace {

struct Part {
  using Scalar = double;
  Parameter<double> weight = {3, 2};
  Parameter<double> bias = {3};

  template <class F>
  void visit(F&& f) const {
    f("weight", weight);
    f("bias", bias);
  }
};

/// Has nothing to train.
struct Fixed {};

struct Model {
  using Scalar = double;
  std::vector<Part> layers = std::vector<Part>(2);
  Fixed fixed;
  Part head;
  Parameter<double> scale = {1};

  template <class F>
  void visit(F&& f) const {
    f("layers", layers);
    f("fixed", fixed);
    f("head", head);
    f("scale", scale);
  }
};

struct Nested {
  using Scalar = double;
  std::vector<Model> models = std::vector<Model>(12);

  template <class F>
  void visit(F&& f) const {
    f("models", models);
  }
};

template <class M>
std::vector<std::string> names_of(M& model) {
  std::vector<std::string> names;
  for_each_parameter(model, [&](const ParameterName& name, auto&) { names.push_back(name.str()); });
  return names;
}

struct Counter {
  void visit_state(auto&& f) { f("count", std::span<double>(&count, 1)); }
  void visit_state(auto&& f) const { f("count", std::span<const double>(&count, 1)); }
  void restored() {}
  double count = 0;
};

struct NeverRead {  // where it is const
  void visit_state(auto&& f) { f("count", std::span<double>(&count, 1)); }
  void restored() {}
  double count = 0;
};

struct NeverRestored {
  void visit_state(auto&& /*f*/) const {}
};

static_assert(comet::Parametric<Part> && comet::Parametric<Model> && comet::Parametric<Nested>);
static_assert(!comet::Parametric<Fixed>);
static_assert(comet::Stateful<Counter> && !comet::Stateful<Part>);
static_assert(!comet::Stateful<NeverRead> && !comet::Stateful<NeverRestored>);
static_assert(comet::detail::has_state<Counter>() && !comet::detail::has_state<Part>());

}  // namespace

TEST_CASE("names tell the way to a tensor") {
  const ParameterName leaf("weight");
  CHECK(leaf.str() == "weight");
  CHECK(ParameterName("gate", leaf).str() == "gate.weight");
  const ParameterName numbered("experts", 12, leaf);
  CHECK(ParameterName("mixture", numbered).str() == "mixture.experts.12.weight");
  CHECK(ParameterName("mixture", numbered).head() == "mixture");
  CHECK(ParameterName(std::string_view("bias")).str() == "bias");
}

TEST_CASE("a parameter is a matrix of zeros that knows its shape") {
  Parameter<float> weight(2, 5);  // in x out
  CHECK(weight.rows() == 2);
  CHECK(weight.cols() == 5);
  CHECK(weight.isZero(0));
  CHECK(weight.shape() == std::vector<Index>{5, 2});
  const Parameter<float> bias({4});
  CHECK(bias.rows() == 4);
  CHECK(bias.cols() == 1);
  CHECK(bias.shape() == std::vector<Index>{4});
  const Parameter<double> filters({8, 3, 5, 2});
  CHECK(filters.rows() == 2);
  CHECK(filters.cols() == 8 * 3 * 5);
  CHECK(Parameter<double>().size() == 0);
  // Numbers change, the shape does not.
  weight = Matrix<float>::Ones(2, 5) * 3;
  weight.col(1) *= 2;
  CHECK(weight(1, 1) == 6);
  CHECK(weight.shape() == std::vector<Index>{5, 2});
  Parameter<float> copy = weight;
  copy.setZero();
  CHECK(weight(0, 0) == 3);
  CHECK(copy.shape() == weight.shape());
}

TEST_CASE("parts are visited in order, each under its name") {
  Model model;
  CHECK(names_of(model) == std::vector<std::string>{"layers.0.weight", "layers.0.bias",
                                                    "layers.1.weight", "layers.1.bias",
                                                    "head.weight", "head.bias", "scale"});
  const Nested nested;
  const auto names = names_of(nested);
  CHECK(names.size() == 84);
  CHECK(names[82] == "models.11.head.bias");
  CHECK(names == names_of(nested));
  Fixed fixed;
  CHECK(names_of(fixed).empty());
}

TEST_CASE("values of a model can be changed, those of a const one be seen") {
  Model model;
  CHECK(comet::count_parameters(model) == 3 * 9 + 1);
  CHECK(comet::count_tensors(model) == 7);
  CHECK(comet::count_tensors(model.layers) == 4);
  for_each_parameter(model, [](const ParameterName&, Parameter<double>& parameter) {
    CHECK(parameter.isZero(0));
    parameter.setConstant(2);
  });
  CHECK(model.layers[1].bias == Matrix<double>::Constant(3, 1, 2));
  double sum = 0;
  for_each_parameter(std::as_const(model), [&](const ParameterName&, auto& parameter) {
    static_assert(std::is_const_v<std::remove_reference_t<decltype(parameter)>>);
    sum += parameter.sum();
  });
  CHECK(sum == 2 * 28);
}
