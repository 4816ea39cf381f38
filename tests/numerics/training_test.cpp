// SPDX-License-Identifier: MIT
// Long trainings at rash learning rates: parameters stay finite, or the first call that meets one
// that is not says so.
#include <limits>
#include <string>

#include <comet/core/errors.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/optimizers/sgd.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>

using namespace comet;

namespace {

using Layer = MoeLayer<CometGate<float>, DenseExpert<float>>;

Layer make_layer(RandomKey key) {
  return Layer(
      CometGate<float>({.input_dim = 3, .num_experts = 4, .k = 2, .entropy = 0.1}, key.fold(9)),
      make_experts<DenseExpert<float>>(4, {.input_dim = 3, .output_dim = 2}, key));
}

bool all_finite(const Layer& layer) {
  bool finite = true;
  for_each_parameter(layer, [&](const ParameterName&, const auto& values) {
    finite = finite && values.allFinite();
  });
  return finite;
}

/// Steps until something is reported. \return the report, empty if there was none
template <class Optimizer>
std::string train(Layer& layer, Optimizer optimizer, int steps, float scale) {
  const Index samples = 8;
  Pass pass(layer);
  Matrix<float> y(2, samples), dy(2, samples);
  for (int step = 0; step < steps; ++step) {
    const RandomKey key = RandomKey(1).fold(step);
    const Matrix<float> x = test::random_matrix<float>(3, samples, key.value());
    const Matrix<float> target = scale * x.topRows(2).cwiseAbs();
    try {
      layer.forward(x, y, key, pass);
      mean_squared_error(y, target, dy);
      layer.backward(x, dy, pass);
      optimizer.step(layer, pass);
    } catch (const NotFinite& report) {  // and nothing else: nobody made a mistake
      return report.what();
    }
    // A parameter that is not finite is reported in the step that makes it or in the next one.
    if (!all_finite(layer)) {
      try {
        layer.forward(x, y, key, pass);
        mean_squared_error(y, target, dy);
      } catch (const NotFinite& report) {
        return report.what();
      }
      return "not reported";
    }
  }
  return {};
}

}  // namespace

TEST_CASE("10,000 steps at learning rates up to 1 leave no parameter that is not finite") {
  const double rate = GENERATE(1e-3, 0.1, 1.0);
  CAPTURE(rate);
  Layer layer = make_layer(RandomKey(3));
  CHECK(train(layer, Adam(layer, {.learning_rate = rate}), 3334, 1.0F).empty());
  CHECK(all_finite(layer));
}

TEST_CASE("a training with targets of any size stays finite or says where it does not") {
  const float scale = GENERATE(1e4F, 1e12F, 1e18F, 1e30F);
  CAPTURE(scale);
  Layer layer = make_layer(RandomKey(4));
  const std::string report = train(layer, Sgd(layer, {.learning_rate = 1}), 1000, scale);
  INFO(report);
  CHECK(((report.empty() && all_finite(layer)) || report.starts_with("comet::")));
  if (scale > 1e20F) CHECK_FALSE(report.empty());
}

TEST_CASE("a finite step that leads beyond the range is reported by the next loss") {
  Layer layer = make_layer(RandomKey(6));
  const float most = std::numeric_limits<float>::max();
  Gradients gradients(layer);
  test::parameter(layer, "experts.0.bias").setConstant(most);
  gradients[test::tensor_number(layer, "experts.0.bias")].setConstant(-most);
  Sgd(layer, {.learning_rate = 1}).step(layer, gradients);
  CHECK_FALSE(all_finite(layer));
  const std::string report = train(layer, Sgd(layer, {.learning_rate = 1}), 1, 1.0F);
  CHECK(report == "comet::mean_squared_error: predictions(0, 0) is inf, expected a finite number");
}

TEST_CASE("Adam reports a gradient whose square overflows instead of stopping for ever") {
  Layer layer = make_layer(RandomKey(5));
  Adam adam(layer, {.learning_rate = 0.1});
  Gradients gradients(layer);
  for (Index i = 0; i < gradients.size(); ++i) gradients[i].setConstant(1.0F);
  adam.step(layer, gradients);
  for (Index i = 0; i < gradients.size(); ++i) gradients[i].setConstant(1.0F);
  gradients[test::tensor_number(layer, "experts.2.bias")].setConstant(1e20F);
  CHECK_THROWS_WITH(adam.step(layer, gradients),
                    "comet::Adam::step: the gradient of experts.2.bias is not finite, or too large "
                    "to be squared, at step 2");
  CHECK(test::parameter(layer, "experts.2.bias").allFinite());
}

TEST_CASE("an epsilon of Adam that is 0 in float is refused") {
  const DenseExpert<float> model({.input_dim = 1, .output_dim = 1}, RandomKey(1));
  const DenseExpert<double> wide({.input_dim = 1, .output_dim = 1}, RandomKey(1));
  CHECK_THROWS_WITH(Adam(model, {.epsilon = 1e-50}),
                    "comet::Adam: epsilon is 0, expected a finite number > 0");
  CHECK_NOTHROW(Adam(wide, {.epsilon = 1e-50}));
}
