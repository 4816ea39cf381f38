// SPDX-License-Identifier: MIT
// A layer of one's own out of stages: experts that live in two places, 0..3 here and 4..7 there,
// each place with its own threads and its own gradients. Where one plan ends and the banks begin is
// where columns would travel to another machine. It gives what a MoeLayer gives, bit for bit.
#include <comet/comet.hpp>
#include <cstdio>

using namespace comet;
using Expert = DenseExpert<float>;
using Gate = TopKGate<float>;

struct TwoPlaces {
  using Scalar = float;
  Gate gate;
  ExpertBank<Expert> here, there;

  struct Workspace {
    Pass<Gate> gate;
    Pass<ExpertBank<Expert>> here, there;
    Routing<float> routing;
    DispatchPlan plan;
    Columns<float> columns, outputs, doutputs, dcolumns;
    AlignedVector<float> dweights;
  };

  void forward(const Samples<float>& samples, MatrixView<float> y, RandomKey key,
               Pass<TwoPlaces>& pass) const {
    auto& ws = pass.workspace;
    gate.forward(samples, ws.routing, key.fold(0).fold(0), ws.gate);
    ws.plan.build(ws.routing, here.size() + there.size(), here.column_multiple());
    gather(samples.features, ws.plan, ws.columns);
    here.forward(ws.plan, ws.columns, ws.outputs, key.fold(1), ws.here);
    there.forward(ws.plan, ws.columns, ws.outputs, key.fold(1), ws.there);
    combine(ws.outputs, ws.plan, ws.routing, y);
  }

  void backward(const Samples<float>& samples, const ConstMatrixView<float>& dy,
                MatrixView<float> dx, Pass<TwoPlaces>& pass) const {
    auto& ws = pass.workspace;
    auto rest = pass.gradients(*this);
    ws.here.borrow(rest.next(here));
    ws.there.borrow(rest.next(there));
    ws.gate.borrow(rest.next(gate));
    spread(dy, ws.plan, ws.routing, ws.outputs, ws.doutputs, ws.dweights);
    here.backward(ws.plan, ws.columns, ws.outputs, ws.doutputs, ws.dcolumns, ws.here);
    there.backward(ws.plan, ws.columns, ws.outputs, ws.doutputs, ws.dcolumns, ws.there);
    gather_back(ws.dcolumns, ws.plan, dx);
    gate.backward(samples, ws.routing, ws.dweights, dx, ws.gate);
  }

  void visit(auto&& f) const {
    f("here", here);
    f("there", there);
    f("gate", gate);
  }
};

int main() {
  const RandomKey key(1);
  const Gate gate({.input_dim = 16, .num_experts = 8, .k = 2}, key.fold(0));
  auto experts = make_experts<Expert>(8, {.input_dim = 16, .output_dim = 4}, key.fold(1));
  const MoeLayer layer(gate, experts);
  const TwoPlaces places{gate, ExpertBank<Expert>({experts.begin(), experts.begin() + 4}),
                         ExpertBank<Expert>({experts.begin() + 4, experts.end()}, 4)};

  Matrix<float> x(16, 100), y(4, 100), other_y(4, 100), dy(4, 100);
  Matrix<float> dx = Matrix<float>::Zero(16, 100), other_dx = dx;
  key.fold(2).fill_uniform(x, -1, 1);
  key.fold(3).fill_uniform(dy, -1, 1);
  Pass pass(layer);
  Pass other_pass(places);
  layer.forward(x, y, key, pass);
  layer.backward(x, dy, dx, pass);
  places.forward(x, other_y, key, other_pass);
  places.backward(x, dy, other_dx, other_pass);

  bool same = y == other_y && dx == other_dx;
  const auto gradients = pass.gradients(layer), others = other_pass.gradients(places);
  for (Index i = 0; i < gradients.size(); ++i) same = same && gradients[i] == others[i];
  std::printf("the layer's bits: %s\n", same ? "yes" : "no");
}
