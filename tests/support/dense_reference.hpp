// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <vector>

#include <comet/core/types.hpp>
#include <comet/experts/dense.hpp>
#include <comet/experts/mlp.hpp>

#include <support/model.hpp>

namespace comet::test {

/// \brief A mixture as the formula has it: every expert on every sample, in plain loops.
///
///     y_t(:, b) = sum_i g_t(i, b) max(W_i^T x(:, b) + c_i, 0)
template <class S>
struct DenseReference {
  std::vector<Matrix<S>> weights;  // n of d x m
  std::vector<Matrix<S>> biases;   // n of m x 1

  explicit DenseReference(const std::vector<DenseExpert<S>>& experts) {
    for (const auto& expert : experts) {
      weights.push_back(expert.weight());
      biases.push_back(expert.bias());
    }
  }

  [[nodiscard]] Index num_experts() const { return Index(weights.size()); }
  [[nodiscard]] Index output_dim() const { return weights.front().cols(); }

  /// Before the ReLU.
  [[nodiscard]] S logit(Index e, Index unit, const Matrix<S>& x, Index b) const {
    const Matrix<S>& w = weights[std::size_t(e)];
    S sum = biases[std::size_t(e)](unit, 0);
    for (Index i = 0; i < w.rows(); ++i) sum += w(i, unit) * x(i, b);
    return sum;
  }

  /// \param gates  T of n x B  \return m x (T B)
  [[nodiscard]] Matrix<S> forward(const Matrix<S>& x, const std::vector<Matrix<S>>& gates) const {
    const Index num_samples = x.cols();
    Matrix<S> y = Matrix<S>::Zero(output_dim(), Index(gates.size()) * num_samples);
    for (Index e = 0; e < num_experts(); ++e)
      for (Index b = 0; b < num_samples; ++b)
        for (Index unit = 0; unit < output_dim(); ++unit) {
          const S value = std::max(logit(e, unit, x, b), S(0));
          for (std::size_t t = 0; t < gates.size(); ++t)
            y(unit, Index(t) * num_samples + b) += gates[t](e, b) * value;
        }
    return y;
  }

  struct Gradients {
    std::vector<Matrix<S>> weights;
    std::vector<Matrix<S>> biases;
    Matrix<S> x;
    std::vector<Matrix<S>> gates;  // T of n x B
  };

  /// Of sum(dy . y).
  [[nodiscard]] Gradients backward(const Matrix<S>& x, const std::vector<Matrix<S>>& gates,
                                   const Matrix<S>& dy) const {
    const Index num_samples = x.cols();
    Gradients g;
    g.x = Matrix<S>::Zero(x.rows(), num_samples);
    for (const Matrix<S>& gate : gates)
      g.gates.push_back(Matrix<S>::Zero(gate.rows(), gate.cols()));
    for (Index e = 0; e < num_experts(); ++e) {
      Matrix<S> dw = Matrix<S>::Zero(x.rows(), output_dim());
      Matrix<S> db = Matrix<S>::Zero(output_dim(), 1);
      for (Index b = 0; b < num_samples; ++b)
        for (Index unit = 0; unit < output_dim(); ++unit) {
          const S z = logit(e, unit, x, b);
          if (!(z > S(0))) continue;
          S dz = 0;
          for (std::size_t t = 0; t < gates.size(); ++t) {
            const S upstream = dy(unit, Index(t) * num_samples + b);
            dz += gates[t](e, b) * upstream;
            g.gates[t](e, b) += z * upstream;
          }
          db(unit, 0) += dz;
          for (Index i = 0; i < x.rows(); ++i) {
            dw(i, unit) += x(i, b) * dz;
            g.x(i, b) += weights[std::size_t(e)](i, unit) * dz;
          }
        }
      g.weights.push_back(dw);
      g.biases.push_back(db);
    }
    return g;
  }
};

/// \brief A mixture of two-layer experts, each of a size of its own, in whole matrices: every
/// expert on every sample.
///
///     y(:, b) = sum_i g(i, b) (V_i^T max(W_i^T x(:, b) + b_i, 0) + c_i)
template <class S>
struct MlpReference {
  struct Expert {
    Matrix<S> hidden_weight, hidden_bias, output_weight, output_bias;
  };
  std::vector<Expert> experts;

  explicit MlpReference(const std::vector<MlpExpert<S>>& of) {
    for (auto expert : of)  // a copy, whose parameters can be taken by name
      experts.push_back({parameter(expert, "hidden.weight"), parameter(expert, "hidden.bias"),
                         parameter(expert, "output.weight"), parameter(expert, "output.bias")});
  }

  [[nodiscard]] Matrix<S> hidden(const Expert& e, const Matrix<S>& x) const {
    const Matrix<S> logits = (e.hidden_weight.transpose() * x).colwise() + e.hidden_bias.col(0);
    return logits.cwiseMax(S(0));
  }
  [[nodiscard]] Matrix<S> output(const Expert& e, const Matrix<S>& x) const {
    return (e.output_weight.transpose() * hidden(e, x)).colwise() + e.output_bias.col(0);
  }

  /// \param gate  n x B
  [[nodiscard]] Matrix<S> forward(const Matrix<S>& x, const Matrix<S>& gate) const {
    Matrix<S> y = Matrix<S>::Zero(experts.front().output_weight.cols(), x.cols());
    for (std::size_t i = 0; i < experts.size(); ++i)
      y += output(experts[i], x) * gate.row(Index(i)).asDiagonal();
    return y;
  }

  struct Gradients {
    std::vector<Expert> experts;
    Matrix<S> x;
    Matrix<S> gate;  // n x B
  };

  /// Of sum(dy . y).
  [[nodiscard]] Gradients backward(const Matrix<S>& x, const Matrix<S>& gate,
                                   const Matrix<S>& dy) const {
    Gradients g;
    g.x = Matrix<S>::Zero(x.rows(), x.cols());
    g.gate = Matrix<S>::Zero(gate.rows(), gate.cols());
    for (std::size_t i = 0; i < experts.size(); ++i) {
      const Expert& e = experts[i];
      const Matrix<S> h = hidden(e, x), dout = dy * gate.row(Index(i)).asDiagonal();
      const Matrix<S> dh =
          (e.output_weight * dout).cwiseProduct((h.array() > S(0)).template cast<S>().matrix());
      g.experts.push_back(
          {x * dh.transpose(), dh.rowwise().sum(), h * dout.transpose(), dout.rowwise().sum()});
      g.x += e.hidden_weight * dh;
      g.gate.row(Index(i)) = dy.cwiseProduct(output(e, x)).colwise().sum();
    }
    return g;
  }
};

}  // namespace comet::test
