// SPDX-License-Identifier: MIT
// Long trainings at rash learning rates: parameters stay finite, or the first call that meets one
// that is not says so.
#include <cmath>
#include <exception>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

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
  std::vector<DenseExpert<float>> experts;
  for (Index i = 0; i < 4; ++i)
    experts.emplace_back(DenseExpertOptions{.input_dim = 3, .output_dim = 2}, key.fold(i));
  std::vector<CometGate<float>> gates;
  gates.emplace_back(CometGateOptions{.input_dim = 3, .num_experts = 4, .k = 2, .entropy = 0.1},
                     key.fold(9));
  return Layer(std::move(gates), std::move(experts));
}

bool all_finite(Layer& layer) {
  bool finite = true;
  layer.visit_parameters(
      [&](const ParameterName&, auto& values, auto&) { finite = finite && values.allFinite(); });
  return finite;
}

/// Steps until something is reported. \return the report, empty if there was none
template <class Optimizer>
std::string train(Layer& layer, Optimizer optimizer, int steps, float scale) {
  const Index samples = 8;
  Layer::Workspace workspace;
  Matrix<float> y(2, samples), dy(2, samples);
  const Matrix<float> observed = Matrix<float>::Ones(2, samples);
  for (int step = 0; step < steps; ++step) {
    const RandomKey key = RandomKey(1).fold(step);
    const Matrix<float> x = test::random_matrix<float>(3, samples, key.value());
    const Matrix<float> target = scale * x.topRows(2).cwiseAbs();
    try {
      layer.forward(x, y, key, workspace);
      mean_squared_error<float>(y, target, observed, dy);
      layer.backward(x, dy, workspace);
      optimizer.step(layer);
    } catch (const std::exception& report) {
      return report.what();
    }
    // A parameter that is not finite is reported in the step that makes it or in the next one.
    if (!all_finite(layer)) {
      try {
        layer.forward(x, y, key, workspace);
        mean_squared_error<float>(y, target, observed, dy);
      } catch (const std::exception& report) {
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
  CHECK(train(layer, Adam<float>({.learning_rate = rate}), 3334, 1.0F).empty());
  CHECK(all_finite(layer));
}

TEST_CASE("a training with targets of any size stays finite or says where it does not") {
  const float scale = GENERATE(1e4F, 1e12F, 1e18F, 1e30F);
  CAPTURE(scale);
  Layer layer = make_layer(RandomKey(4));
  const std::string report = train(layer, Sgd<float>({.learning_rate = 1}), 1000, scale);
  INFO(report);
  CHECK(((report.empty() && all_finite(layer)) || report.starts_with("comet::")));
  if (scale > 1e20F) CHECK_FALSE(report.empty());
}

TEST_CASE("a finite step that leads beyond the range is reported by the next loss") {
  Layer layer = make_layer(RandomKey(6));
  const float most = std::numeric_limits<float>::max();
  layer.visit_parameters([&](const ParameterName& name, auto& values, auto& gradients) {
    if (name.str() != "experts.0.bias") return;
    values.setConstant(most);
    gradients.setConstant(-most);
  });
  Sgd<float>({.learning_rate = 1}).step(layer);
  CHECK_FALSE(all_finite(layer));
  const std::string report = train(layer, Sgd<float>({.learning_rate = 1}), 1, 1.0F);
  CHECK(report == "comet::mean_squared_error: predictions(0, 0) is inf, expected a finite number");
}

TEST_CASE("Adam reports a gradient whose square overflows instead of stopping for ever") {
  Layer layer = make_layer(RandomKey(5));
  Adam<float> adam({.learning_rate = 0.1});
  layer.visit_parameters(
      [](const ParameterName&, auto&, auto& gradients) { gradients.setConstant(1.0F); });
  adam.step(layer);
  const auto before = test::values_of(layer);
  layer.visit_parameters([](const ParameterName& name, auto&, auto& gradients) {
    gradients.setConstant(name.str() == "experts.2.bias" ? 1e20F : 1.0F);
  });
  CHECK_THROWS_WITH(adam.step(layer),
                    "comet::Adam::step: the gradient of experts.2.bias is not finite, or too large "
                    "to be squared, at step 2");
  CHECK(test::parameter(layer, "experts.2.bias").allFinite());
}

TEST_CASE("an epsilon of Adam that is 0 in float is refused") {
  CHECK_THROWS_WITH(Adam<float>({.epsilon = 1e-50}),
                    "comet::Adam: epsilon is 0, expected a finite number > 0");
  CHECK_NOTHROW(Adam<double>({.epsilon = 1e-50}));
}
