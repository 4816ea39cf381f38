// SPDX-License-Identifier: MIT
// expect: comet: the visit(f) of this model is not const
#include <comet/layers/dense.hpp>
#include <comet/optimizers/sgd.hpp>

struct Model {
  using Scalar = float;
  template <class F>
  void visit(F&& f) {
    f("layer", layer);
  }
  comet::Dense<float> layer;
};

void train(Model& model) { comet::Sgd optimizer(model, {}); }
