// SPDX-License-Identifier: MIT
// expect: nothing
#include <comet/gates/hash.hpp>
#include <comet/layers/dense.hpp>
#include <comet/layers/dropout.hpp>
#include <comet/optimizers/sgd.hpp>

struct Model {
  using Scalar = float;
  template <class F>
  void visit(F&& f) const {
    f("layer", layer);
    f("dropout", dropout);
  }
  comet::Dense<float> layer;
  comet::Dropout<float> dropout;
};

// A part of no parameters may be a model, too.
void train(comet::HashGate<float>& gate) { comet::Sgd optimizer(gate, {}); }
void train(Model& model) { comet::Sgd optimizer(model, {}); }
