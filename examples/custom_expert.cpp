// SPDX-License-Identifier: MIT
// A layer of one's own as a part of an expert: a small convolution over a signal. What it offers is
// a column function (concept ColumnFunction), all that a Chain and so a mixture layer needs.
#include <comet/comet.hpp>
#include <iostream>

using namespace comet;

// y_t = relu(k0 x_t + k1 x_{t+1}), one signal per column.
class SignalConvolution {
 public:
  using Scalar = double;
  using View = MatrixView<double>;
  using ConstView = ConstMatrixView<double>;
  static constexpr bool independent_columns = true;  // bits of a column: whatever stands beside it

  SignalConvolution(Index length, RandomKey key) : length_(length), kernel_(2, 1) {
    key.fill_uniform(kernel_, -0.5, 0.5);
  }

  Index input_dim() const { return length_; }
  Index output_dim() const { return length_ - 1; }
  Index cache_dim() const { return 0; }                  // the backward pass needs x and y alone
  double cost() const { return 2.0 * double(length_); }  // multiply-adds of a column

  void predict(const ConstView& x, View y, View) const {
    y = kernel_(0) * x.topRows(output_dim()) + kernel_(1) * x.bottomRows(output_dim());
    y = y.cwiseMax(0.0);
  }
  void forward(const ConstView& x, View y, View cache, const TrainingTile&) const {
    predict(x, y, cache);
  }

  // The backward pass of a block of columns. What is left in dy, the derivative by what the relu
  // took, is for accumulate_gradients.
  void backward_columns(const ConstView&, const ConstView& y, View, View dy, View dx) const {
    dy = (y.array() > 0).select(dy, 0.0);
    if (dx.size() == 0) return;  // not wanted
    dx.topRows(output_dim()) += kernel_(0) * dy;
    dx.bottomRows(output_dim()) += kernel_(1) * dy;
  }
  Index num_slices() const { return 1; }  // threads could share more
  void accumulate_gradients(const ConstView& x, const ConstView&, const ConstView& dy, Index,
                            GradientView<double> gradients) const {
    auto dkernel = gradients[0];  // of the first tensor that visit() names
    dkernel(0) += dy.cwiseProduct(x.topRows(output_dim())).sum();
    dkernel(1) += dy.cwiseProduct(x.bottomRows(output_dim())).sum();
  }

  void visit(auto&& f) const { f("kernel", kernel_); }

 private:
  Index length_;
  Parameter<double> kernel_;  // 2 x 1
};

int main() {
  // A signal's value is its mean rise if it begins above 0, its mean fall if it begins below: two
  // kernels, and a gate that looks at the first element.
  using Expert = Chain<SignalConvolution, Dense<double>>;
  const auto expert = [](RandomKey key) {
    return Expert(SignalConvolution(12, key.fold(0)),
                  Dense<double>({.input_dim = 11, .output_dim = 1}, key.fold(1)));
  };
  const CometGate<double> gate({.input_dim = 12, .num_experts = 2, .k = 1}, RandomKey(1));
  MoeLayer layer(gate, std::vector{expert(RandomKey(2)), expert(RandomKey(3))});
  Pass pass(layer);
  Adam adam(layer, {.learning_rate = 0.03});

  Matrix<double> x(12, 200), y(1, 200), dy(1, 200);
  RandomKey(4).fill_uniform(x, -1, 1);
  const Matrix<double> steps = x.bottomRows(11) - x.topRows(11);
  const Matrix<double> rise = steps.cwiseMax(0.0), fall = (-steps).cwiseMax(0.0);
  const Matrix<double> target =
      (x.row(0).array() > 0).select(rise.colwise().mean(), fall.colwise().mean());
  double loss = 0;
  for (std::uint64_t step = 0; step < 600; ++step) {
    layer.forward(x, y, RandomKey(step), pass);
    loss = mean_squared_error(y, target, dy);
    layer.backward(x, dy, pass);
    adam.step(layer, pass);
  }
  std::cout << "rise and fall learned: " << (loss < 1e-3 ? "yes" : "no") << '\n';
}
