// SPDX-License-Identifier: MIT
// A mixture beside an expert that every sample sees, written from the stages of a layer: what
// MoeLayer does, and one line more.
#include <comet/comet.hpp>
#include <cstdio>

using namespace comet;

struct Model {
  using Scalar = double;
  CometGate<double> gate;
  ExpertBank<DenseExpert<double>> bank;
  Dense<double> shared;

  void visit(auto&& f) const {
    f("gate", gate);
    f("bank", bank);
    f("shared", shared);
  }
};

int main() {
  const RandomKey key(1);
  const DenseExpertOptions linear{
      .input_dim = 2, .output_dim = 1, .activation = Activation::identity};
  Model model{CometGate<double>({.input_dim = 2, .num_experts = 8, .k = 1, .entropy = 0.05}, key),
              ExpertBank(make_experts<DenseExpert<double>>(8, linear, key.fold(1))),
              Dense<double>({.input_dim = 2, .output_dim = 1}, key.fold(2))};
  Gradients gradients(model);
  auto rest = gradients.view();  // each part's pass adds to its own share of them
  Pass gate_pass(model.gate, rest.next(model.gate));
  Pass bank_pass(model.bank, rest.next(model.bank));
  Pass shared_pass(model.shared, rest.next(model.shared));
  Adam adam(model, {.learning_rate = 0.01});

  Matrix<double> x(2, 512), y(1, 512), shared(1, 512), dy(1, 512);
  key.fold(3).fill_uniform(x, -1, 1);
  const Matrix<double> target = x.row(0).cwiseAbs() + 3 * x.row(1);  // the slope is everyone's
  Routing<double> routing;
  DispatchPlan plan;
  Columns<double> columns, outputs, doutputs;
  AlignedVector<double> dweights;
  double loss = 0;
  for (Index step = 0; step < 2000; ++step) {
    const RandomKey step_key = key.fold(4).fold(step);
    model.gate.forward(x, routing, step_key, gate_pass);
    plan.build(routing, 8, model.bank.column_multiple());
    gather(x, plan, columns);
    model.bank.forward(plan, columns, outputs, step_key, bank_pass);
    combine(outputs, plan, routing, y);
    model.shared.forward(x, shared, step_key, shared_pass);
    y += shared;
    loss = mean_squared_error(y, target, dy);

    spread(dy, plan, routing, outputs, doutputs, dweights);
    model.bank.backward(plan, columns, outputs, doutputs, bank_pass);
    model.gate.backward(x, routing, dweights, no_gradient, gate_pass);
    model.shared.backward(x, shared, dy, no_gradient, shared_pass);
    adam.step(model, gradients);
  }
  std::printf("crease and slope learned: %s\n", loss < 1e-3 ? "yes" : "no");
}
