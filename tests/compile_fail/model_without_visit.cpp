// SPDX-License-Identifier: MIT
// expect: comet: this model has no `visit(f) const`
#include <comet/layers/dense.hpp>
#include <comet/optimizers/sgd.hpp>

struct Model {
  using Scalar = float;
  comet::Dense<float> layer;
};

void train(Model& model) { comet::Sgd optimizer(model, {}); }
