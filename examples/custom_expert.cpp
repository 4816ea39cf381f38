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
    key.fill_uniform(kernel_.values, -0.5, 0.5);
  }

  Index input_dim() const { return length_; }
  Index output_dim() const { return 1; }
  Index cache_dim() const { return length_ - 1; }  // what the relu made, for the backward pass

  void predict(const ConstView& x, View y, View cache) const {
    cache =
        kernel_.values(0) * x.topRows(cache_dim()) + kernel_.values(1) * x.bottomRows(cache_dim());
    cache = cache.cwiseMax(0.0);
    y = cache.colwise().mean();
  }
  void forward(const ConstView& x, View y, View cache, const TrainingTile&) const {
    predict(x, y, cache);
  }
  void backward(const ConstView& x, const ConstView&, View cache, View dy, View dx) {
    const auto left = x.topRows(cache_dim()), right = x.bottomRows(cache_dim());
    // From here on: the derivative by what the relu took.
    cache = (cache.array() > 0).cast<double>().rowwise() * dy.row(0).array() / double(cache_dim());
    kernel_.gradients(0) += cache.cwiseProduct(left).sum();
    kernel_.gradients(1) += cache.cwiseProduct(right).sum();
    if (dx.size() == 0) return;  // not wanted
    dx.setZero();
    dx.topRows(cache_dim()) += kernel_.values(0) * cache;
    dx.bottomRows(cache_dim()) += kernel_.values(1) * cache;
  }

  void visit_parameters(auto&& f) { kernel_.visit("kernel", f); }

 private:
  Index length_;
  Parameter<double> kernel_;  // 2 x 1
};

int main() {
  // A signal's value is its mean rise if it begins above 0, its mean fall if it begins below: two
  // kernels, and a gate that looks at the first element.
  const CometGate<double> gate({.input_dim = 12, .num_experts = 2, .k = 1}, RandomKey(1));
  const ConvolutionExpert one(12, RandomKey(2)), other(12, RandomKey(3));
  MoeLayer layer(std::vector{gate}, std::vector{one, other});
  decltype(layer)::Workspace workspace;
  Adam<double> adam({.learning_rate = 0.03});

  Matrix<double> x(12, 200), y(1, 200), dy(1, 200);
  RandomKey(4).fill_uniform(x, -1, 1);
  const Matrix<double> steps = x.bottomRows(11) - x.topRows(11);
  const Matrix<double> rise = steps.cwiseMax(0.0), fall = (-steps).cwiseMax(0.0);
  const Matrix<double> target =
      (x.row(0).array() > 0).select(rise.colwise().mean(), fall.colwise().mean());
  const Matrix<double> all = Matrix<double>::Ones(1, 200);
  double loss = 0;
  for (std::uint64_t step = 0; step < 600; ++step) {
    layer.forward(x, y, RandomKey(step), workspace);
    loss = mean_squared_error<double>(y, target, all, dy);
    layer.backward(x, dy, workspace);
    adam.step(layer);
  }
  std::cout << "rise and fall learned: " << (loss < 1e-3 ? "yes" : "no") << '\n';
}
