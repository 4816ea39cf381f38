// SPDX-License-Identifier: MIT
// Experts of two kinds in one mixture: four linear ones and four small networks, in a bank each.
// One gate chooses among all eight, one plan tells both banks their columns.
#include <comet/comet.hpp>
#include <cstdio>

using namespace comet;

struct Model {
  using Scalar = double;
  SoftmaxGate<double> gate;
  ExpertBank<DenseExpert<double>> linear;
  ExpertBank<MlpExpert<double>> curved;  // experts 4..7 of the plan

  void visit(auto&& f) const {
    f("gate", gate);
    f("linear", linear);
    f("curved", curved);
  }
};

int main() {
  const RandomKey key(1);
  Model model{
      SoftmaxGate<double>({.input_dim = 1, .num_experts = 8}, key),
      ExpertBank(make_experts<DenseExpert<double>>(
          4, {.input_dim = 1, .output_dim = 1, .activation = Activation::identity}, key.fold(1))),
      ExpertBank(make_experts<MlpExpert<double>>(
                     4, {.input_dim = 1, .hidden_dim = 16, .output_dim = 1}, key.fold(2)),
                 4)};
  Gradients gradients(model);
  auto rest = gradients.view();
  Pass gate_pass(model.gate, rest.next(model.gate));
  Pass linear_pass(model.linear, rest.next(model.linear));
  Pass curved_pass(model.curved, rest.next(model.curved));
  Adam adam(model, {.learning_rate = 0.01});

  Matrix<double> x(1, 256), y(1, 256), dy(1, 256);
  key.fold(3).fill_uniform(x, -2, 2);
  const Matrix<double> target = (x.array() < 0).select(x, (4 * x.array()).sin().matrix());
  Routing<double> routing;
  DispatchPlan plan;
  Columns<double> columns, outputs, doutputs;
  AlignedVector<double> dweights;
  double loss = 0;
  for (Index step = 0; step < 1500; ++step) {
    const RandomKey step_key = key.fold(4).fold(step);
    model.gate.forward(x, routing, step_key, gate_pass);
    plan.build(routing, 8, model.curved.column_multiple());
    gather(x, plan, columns);
    model.linear.forward(plan, columns, outputs, step_key, linear_pass);
    model.curved.forward(plan, columns, outputs, step_key, curved_pass);
    combine(outputs, plan, routing, y);
    loss = mean_squared_error(y, target, dy);

    spread(dy, plan, routing, outputs, doutputs, dweights);
    model.linear.backward(plan, columns, outputs, doutputs, linear_pass);
    model.curved.backward(plan, columns, outputs, doutputs, curved_pass);
    model.gate.backward(x, routing, dweights, no_gradient, gate_pass);
    adam.step(model, gradients);
  }
  std::printf("line and wave learned: %s\n", loss < 1e-2 ? "yes" : "no");
}
