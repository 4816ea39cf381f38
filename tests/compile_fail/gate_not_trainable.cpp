// SPDX-License-Identifier: MIT
// expect: comet::MoeLayer::forward: this gate has parameters but cannot be trained
#include <comet/experts/dense.hpp>
#include <comet/moe_layer.hpp>

struct Routes {
  using Scalar = float;
  struct Workspace {};
  comet::Index num_experts() const { return 1; }
  comet::Index max_active() const { return 1; }
  void route(const comet::Samples<float>&, comet::Routing<float>&, comet::Pass<Routes>&) const {}
  template <class F>
  void visit(F&& f) const {
    f("weight", weight);
  }
  comet::Parameter<float> weight;
};

using Layer = comet::MoeLayer<Routes, comet::DenseExpert<float>>;

void misuse(const Layer& layer, const comet::Matrix<float>& x, comet::Matrix<float>& y,
            comet::Pass<Layer>& pass) {
  layer.forward(x, y, comet::RandomKey(1), pass);
}
