// SPDX-License-Identifier: MIT
// An expert of one's own: a polynomial of degree 2 in one variable. Its backward pass is one call
// (WholeBackwardExpert), which is all that a mixture layer needs.
#include <iostream>

#include <comet/comet.hpp>

using comet::Index, comet::Matrix, comet::RandomKey;

// f(x) = p0 + p1 x + p2 x^2
class QuadraticExpert {
 public:
  using Scalar = double;
  using View = comet::MatrixView<double>;
  using ConstView = comet::ConstMatrixView<double>;

  explicit QuadraticExpert(RandomKey key) : p_(3, 1) { key.fill_uniform(p_.values, -0.1, 0.1); }

  Index input_dim() const { return 1; }
  Index output_dim() const { return 1; }
  Index cache_dim() const { return 0; }  // nothing to remember between the passes

  void predict(const ConstView& x, View y, View) const {
    const auto p = p_.values.col(0);
    y.array() = p(0) + p(1) * x.array() + p(2) * x.array().square();
  }
  void forward(const ConstView& x, View y, View cache, const comet::TrainingTile&) const {
    predict(x, y, cache);
  }
  void backward(const ConstView& x, const ConstView&, View, View dy, View dx) {
    const auto power = x.array();
    p_.gradients(0, 0) += dy.sum();
    p_.gradients(1, 0) += (dy.array() * power).sum();
    p_.gradients(2, 0) += (dy.array() * power.square()).sum();
    if (dx.size() > 0) dx.array() = dy.array() * (p_.values(1, 0) + 2 * p_.values(2, 0) * power);
  }

  template <class F>
  void visit_parameters(F&& f) {
    p_.visit("p", f);
  }

 private:
  comet::Parameter<double> p_;  // 3 x 1
};

static_assert(comet::WholeBackwardExpert<QuadraticExpert>);

int main() {
  // |x| is no polynomial, but two experts with a gate between them can be one on each side.
  using Layer = comet::MoeLayer<comet::CometGate<double>, QuadraticExpert>;
  const comet::CometGate<double> gate({.input_dim = 1, .num_experts = 2, .k = 1}, RandomKey(1));
  Layer layer({gate}, {QuadraticExpert(RandomKey(2)), QuadraticExpert(RandomKey(3))});
  Layer::Workspace workspace;

  const Index samples = 200;
  const Matrix<double> x = Eigen::RowVectorXd::LinSpaced(samples, -1, 1);
  const Matrix<double> target = x.cwiseAbs();
  const Matrix<double> all = Matrix<double>::Ones(1, samples);
  Matrix<double> y(1, samples), dy(1, samples), none;
  comet::Adam<double> adam({.learning_rate = 0.02});
  for (std::uint64_t step = 0; step < 1000; ++step) {
    layer.forward(x, y, RandomKey(step), workspace);
    comet::mean_squared_error<double>(y, target, all, dy);
    layer.backward(x, dy, none, workspace);
    adam.step(layer);
  }
  layer.predict(x, y, workspace);
  const bool close = (y - target).cwiseAbs().maxCoeff() < 0.05;
  std::cout << "parameters: " << comet::count_parameters(layer) << '\n'
            << "|x| within 0.05 everywhere: " << (close ? "yes" : "no") << '\n';
}
