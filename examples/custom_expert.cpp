// SPDX-License-Identifier: MIT
// An expert of one's own: a small convolution over a signal. Its backward pass is one call
// (WholeBackwardExpert), which is all that a mixture layer needs.
#include <comet/comet.hpp>
#include <iostream>

using namespace comet;

// f(x) = mean over t of relu(k0 x_t + k1 x_{t+1}), one signal per column.
class ConvolutionExpert {
 public:
  using Scalar = double;
  using View = MatrixView<double>;
  using ConstView = ConstMatrixView<double>;

  ConvolutionExpert(Index length, RandomKey key) : length_(length), kernel_(2, 1) {
    key.fill_uniform(kernel_, -0.5, 0.5);
  }

  Index input_dim() const { return length_; }
  Index output_dim() const { return 1; }
  Index cache_dim() const { return length_ - 1; }  // what the relu made, for the backward pass
  double cost() const { return 2.0 * double(length_); }  // multiply-adds of a column

  void predict(const ConstView& x, View y, View cache) const {
    cache = kernel_(0) * x.topRows(cache_dim()) + kernel_(1) * x.bottomRows(cache_dim());
    cache = cache.cwiseMax(0.0);
    y = cache.colwise().mean();
  }
  void forward(const ConstView& x, View y, View cache, const TrainingTile&) const {
    predict(x, y, cache);
  }
  void backward(const ConstView& x, const ConstView&, View cache, View dy, View dx,
                GradientView<double> gradients) const {
    const auto left = x.topRows(cache_dim()), right = x.bottomRows(cache_dim());
    // From here on: the derivative by what the relu took.
    cache = (cache.array() > 0).cast<double>().rowwise() * dy.row(0).array() / double(cache_dim());
    auto dkernel = gradients[0];  // of the first tensor that visit() names
    dkernel(0) += cache.cwiseProduct(left).sum();
    dkernel(1) += cache.cwiseProduct(right).sum();
    if (dx.size() == 0) return;  // not wanted
    dx.topRows(cache_dim()) += kernel_(0) * cache;
    dx.bottomRows(cache_dim()) += kernel_(1) * cache;
  }

  void visit(auto&& f) const { f("kernel", kernel_); }

 private:
  Index length_;
  Parameter<double> kernel_;  // 2 x 1
};

int main() {
  // A signal's value is its mean rise if it begins above 0, its mean fall if it begins below: two
  // kernels, and a gate that looks at the first element.
  const CometGate<double> gate({.input_dim = 12, .num_experts = 2, .k = 1}, RandomKey(1));
  const ConvolutionExpert one(12, RandomKey(2)), other(12, RandomKey(3));
  MoeLayer layer(gate, std::vector{one, other});
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
