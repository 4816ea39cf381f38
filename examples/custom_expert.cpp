// SPDX-License-Identifier: MIT
// An expert of one's own: a small convolution over a signal. Its backward pass is one call
// (WholeBackwardExpert), which is all that a mixture layer needs.
#include <iostream>

#include <comet/comet.hpp>

using comet::Index, comet::Matrix, comet::RandomKey;

// f(x) = mean over t of relu(k0 x_t + k1 x_{t+1} + k2), one signal per column.
class ConvolutionExpert {
 public:
  using Scalar = double;
  using View = comet::MatrixView<double>;
  using ConstView = comet::ConstMatrixView<double>;

  ConvolutionExpert(Index length, RandomKey key) : length_(length), kernel_(3, 1) {
    key.fill_uniform(kernel_.values, -0.5, 0.5);
  }

  Index input_dim() const { return length_; }
  Index output_dim() const { return 1; }
  Index cache_dim() const { return length_ - 1; }  // what the relu made, for the backward pass

  void predict(const ConstView& x, View y, View cache) const {
    const auto k = kernel_.values.col(0);
    const Index places = cache_dim();
    cache.array() = k(0) * x.topRows(places).array() + k(1) * x.bottomRows(places).array() + k(2);
    cache = cache.cwiseMax(0.0);
    y = cache.colwise().mean();
  }
  void forward(const ConstView& x, View y, View cache, const comet::TrainingTile&) const {
    predict(x, y, cache);
  }
  void backward(const ConstView& x, const ConstView&, View cache, View dy, View dx) {
    const Index places = cache_dim();
    cache = (cache.array() > 0).cast<double>();  // from here on: derivative by what the relu took
    for (Index b = 0; b < cache.cols(); ++b) cache.col(b) *= dy(0, b) / double(places);
    kernel_.gradients(0, 0) += cache.cwiseProduct(x.topRows(places)).sum();
    kernel_.gradients(1, 0) += cache.cwiseProduct(x.bottomRows(places)).sum();
    kernel_.gradients(2, 0) += cache.sum();
    if (dx.size() == 0) return;
    dx.setZero();
    dx.topRows(places) += kernel_.values(0, 0) * cache;
    dx.bottomRows(places) += kernel_.values(1, 0) * cache;
  }

  template <class F>
  void visit_parameters(F&& f) {
    kernel_.visit("kernel", f);
  }

 private:
  Index length_;
  comet::Parameter<double> kernel_;  // 3 x 1
};

static_assert(comet::WholeBackwardExpert<ConvolutionExpert>);

int main() {
  // A signal's value is its mean rise if it begins above 0, its mean fall if it begins below: two
  // kernels, and a gate that looks at the first element.
  const Index length = 12, samples = 200;
  using Gate = comet::CometGate<double>;
  comet::MoeLayer<Gate, ConvolutionExpert> layer(
      {Gate({.input_dim = length, .num_experts = 2, .k = 1}, RandomKey(1))},
      {ConvolutionExpert(length, RandomKey(2)), ConvolutionExpert(length, RandomKey(3))});
  decltype(layer)::Workspace workspace;

  Matrix<double> x(length, samples), y(1, samples), dy(1, samples);
  RandomKey(4).fill_uniform(x, -1, 1);
  const Matrix<double> rise = x.bottomRows(length - 1) - x.topRows(length - 1);
  const Matrix<double> target =
      (x.row(0).array() > 0)
          .select(rise.cwiseMax(0.0).colwise().mean(), (-rise).cwiseMax(0.0).colwise().mean());
  const Matrix<double> all = Matrix<double>::Ones(1, samples);
  comet::Adam<double> adam({.learning_rate = 0.03});
  double first = 0, loss = 0;
  for (std::uint64_t step = 0; step < 600; ++step) {
    layer.forward(x, y, RandomKey(step), workspace);
    loss = comet::mean_squared_error<double>(y, target, all, dy);
    if (step == 0) first = loss;
    layer.backward(x, dy, workspace);
    adam.step(layer);
  }
  std::cout << "parameters: " << comet::count_parameters(layer) << '\n'
            << "loss falls thirtyfold: " << (loss < first / 30 ? "yes" : "no") << '\n';
}
