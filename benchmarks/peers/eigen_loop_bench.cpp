// SPDX-License-Identifier: MIT
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include <Eigen/Core>

/// \file
/// \brief The training step of training_step_bench.cpp as a careful user would write it in plain
/// Eigen: whole-matrix products, a loop over experts that gathers each one's samples, and every
/// hyperplane of the gate in one product. Nothing of the library is used.

namespace {

using Matrix = Eigen::MatrixXf;
using Row = Eigen::RowVectorXf;
using Eigen::Index;

constexpr Index users = 6040, items = 3706, experts = 16, trees = 2, half = 128, d = 256, m = 256;
constexpr Index splits = experts - 1;
constexpr float gamma_width = 1, entropy_strength = 0.05F, dropout = 0.5F;

struct Tensor {
  Matrix value, gradient, mean, square;

  Tensor(Index rows, Index columns, float bound)
      : value(Matrix::Random(rows, columns) * bound),
        gradient(Matrix::Zero(rows, columns)),
        mean(gradient),
        square(gradient) {}

  void adam(float rate, float correction1, float correction2) {
    mean = 0.9F * mean + 0.1F * gradient;
    square.array() = 0.999F * square.array() + 0.001F * gradient.array().square();
    value.array() -=
        rate * (mean.array() / correction1) / ((square.array() / correction2).sqrt() + 1e-8F);
    gradient.setZero();
  }
};

struct Linear {
  Tensor weight, bias;  // in x out, out x 1
  Linear(Index in, Index out)
      : weight(in, out, std::sqrt(6.0F / float(in + out))), bias(out, 1, 0) {}

  [[nodiscard]] Matrix forward(const Matrix& x) const {
    Matrix y = weight.value.transpose() * x;
    y.colwise() += bias.value.col(0);
    return y;
  }
  Matrix backward(const Matrix& x, const Matrix& dy) {
    weight.gradient.noalias() += x * dy.transpose();
    bias.gradient.col(0) += dy.rowwise().sum();
    return weight.value * dy;
  }
};

/// All splits and leaves of both trees, each as one product.
struct Gate {
  Linear split{d, trees* splits};
  Linear leaf{d, trees* experts};
  Matrix split_logits, reach, weights;  // trees * splits, trees * experts, experts; by B

  Gate() { split.weight.value *= 1e6F; }  // saturated

  static float smooth_step(float t) {
    const float v = t / gamma_width;
    if (v <= -0.5F) return 0;
    if (v >= 0.5F) return 1;
    return -2 * v * v * v + 1.5F * v + 0.5F;
  }
  static float smooth_step_derivative(float t) {
    const float v = t / gamma_width;
    return std::abs(v) >= 0.5F ? 0 : (-6 * v * v + 1.5F) / gamma_width;
  }

  void forward(const Matrix& x) {
    split_logits = split.forward(x);
    Matrix logits = leaf.forward(x);
    reach.resize(trees * experts, x.cols());
    weights.setZero(experts, x.cols());
    for (Index b = 0; b < x.cols(); ++b) {
      for (Index t = 0; t < trees; ++t) {
        std::array<float, 2 * experts> node;
        node[0] = 1;
        for (Index q = 0; q < splits; ++q) {
          const float s = smooth_step(split_logits(t * splits + q, b));
          node[std::size_t(2 * q + 1)] = node[std::size_t(q)] * s;
          node[std::size_t(2 * q + 2)] = node[std::size_t(q)] * (1 - s);
        }
        for (Index e = 0; e < experts; ++e)
          reach(t * experts + e, b) = node[std::size_t(splits + e)];
      }
      auto column = logits.col(b);
      float most = -1e30F;
      for (Index i = 0; i < trees * experts; ++i)
        if (reach(i, b) > 0) most = std::max(most, column(i));
      float sum = 0;
      for (Index i = 0; i < trees * experts; ++i) {
        column(i) = reach(i, b) > 0 ? reach(i, b) * std::exp(column(i) - most) : 0.0F;
        sum += column(i);
      }
      for (Index i = 0; i < trees * experts; ++i) weights(i % experts, b) += column(i) / sum;
    }
    softmax = std::move(logits);
    for (Index b = 0; b < x.cols(); ++b) softmax.col(b) /= softmax.col(b).sum();
  }

  /// \param dweights  experts x B
  Matrix backward(const Matrix& x, const Matrix& dweights) {
    Matrix dleaf = Matrix::Zero(trees * experts, x.cols());
    Matrix dsplit = Matrix::Zero(trees * splits, x.cols());
    for (Index b = 0; b < x.cols(); ++b) {
      float mean = 0;
      for (Index i = 0; i < trees * experts; ++i) mean += softmax(i, b) * dweights(i % experts, b);
      for (Index t = 0; t < trees; ++t) {
        std::array<float, 2 * experts> dnode{}, node{};
        node[0] = 1;
        for (Index q = 0; q < splits; ++q) {
          const float s = smooth_step(split_logits(t * splits + q, b));
          node[std::size_t(2 * q + 1)] = node[std::size_t(q)] * s;
          node[std::size_t(2 * q + 2)] = node[std::size_t(q)] * (1 - s);
        }
        for (Index e = 0; e < experts; ++e) {
          const Index i = t * experts + e;
          const float v = reach(i, b);
          if (v == 0) continue;
          dleaf(i, b) = softmax(i, b) * (dweights(e, b) - mean);
          dnode[std::size_t(splits + e)] =
              dleaf(i, b) / v -
              entropy_strength / float(x.cols()) * (std::log(v + 1e-6F) + v / (v + 1e-6F));
        }
        for (Index q = splits - 1; q >= 0; --q) {
          const float s = smooth_step(split_logits(t * splits + q, b));
          const float left = dnode[std::size_t(2 * q + 1)], right = dnode[std::size_t(2 * q + 2)];
          dnode[std::size_t(q)] = s * left + (1 - s) * right;
          dsplit(t * splits + q, b) = node[std::size_t(q)] * (left - right) *
                                      smooth_step_derivative(split_logits(t * splits + q, b));
        }
      }
    }
    Matrix dx = leaf.backward(x, dleaf);
    dx += split.backward(x, dsplit);
    return dx;
  }

  Matrix softmax;  // trees * experts x B
};

struct Head {
  Linear hidden{m, 256}, output{256, 1};
  Matrix h;

  Row forward(const Matrix& x) {
    h = hidden.forward(x).cwiseMax(0.0F);
    return output.forward(h);
  }
  Matrix backward(const Matrix& x, const Row& dy) {
    Matrix dh = output.backward(h, dy);
    dh.array() *= (h.array() > 0).cast<float>();
    return hidden.backward(x, dh);
  }
};

struct Model {
  Tensor user{half, users, 0.05F}, item{half, items, 0.05F};
  std::vector<Linear> expert = std::vector<Linear>(std::size_t(experts), Linear(d, m));
  std::array<Gate, 2> gate;
  std::array<Head, 2> head;
  int step = 0;

  void train(const std::vector<Index>& user_ids, const std::vector<Index>& item_ids,
             const Row& watched, const Row& rating) {
    const Index batch = watched.size();
    Matrix x(d, batch);
    for (Index b = 0; b < batch; ++b) {
      x.col(b).head(half) = user.value.col(user_ids[std::size_t(b)]);
      x.col(b).tail(half) = item.value.col(item_ids[std::size_t(b)]);
    }
    for (Gate& g : gate) g.forward(x);

    std::array<Matrix, 2> mixed{Matrix::Zero(m, batch), Matrix::Zero(m, batch)};
    std::vector<std::vector<Index>> samples(static_cast<std::size_t>(experts));
    std::vector<Matrix> gathered(samples.size()), outputs(samples.size());
    for (std::size_t e = 0; e < samples.size(); ++e) {
      for (Index b = 0; b < batch; ++b)
        if (gate[0].weights(Index(e), b) != 0 || gate[1].weights(Index(e), b) != 0)
          samples[e].push_back(b);
      if (samples[e].empty()) continue;
      gathered[e] = x(Eigen::seqN(Index(0), x.rows()), samples[e]);
      outputs[e] = expert[e].forward(gathered[e]).cwiseMax(0.0F);
      outputs[e].array() *=
          (Matrix::Random(m, Index(samples[e].size())).array() > 2 * dropout - 1).cast<float>() /
          (1 - dropout);
      for (std::size_t i = 0; i < samples[e].size(); ++i)
        for (std::size_t t = 0; t < 2; ++t)
          mixed[t].col(samples[e][i]) +=
              gate[t].weights(Index(e), samples[e][i]) * outputs[e].col(Index(i));
    }

    const Row logits = head[0].forward(mixed[0]);
    const Row stars = head[1].forward(mixed[1]);
    const Row dlogits =
        0.5F / float(batch) * ((1 + (-logits.array()).exp()).inverse() - watched.array());
    const Row dstars = watched.cwiseProduct(stars - rating) / std::max(1.0F, watched.sum());
    const std::array<Matrix, 2> dmixed{head[0].backward(mixed[0], dlogits),
                                       head[1].backward(mixed[1], dstars)};

    Matrix dx = Matrix::Zero(d, batch);
    std::array<Matrix, 2> dweights{Matrix::Zero(experts, batch), Matrix::Zero(experts, batch)};
    for (std::size_t e = 0; e < samples.size(); ++e) {
      if (samples[e].empty()) continue;
      Matrix doutput = Matrix::Zero(m, Index(samples[e].size()));
      for (std::size_t i = 0; i < samples[e].size(); ++i)
        for (std::size_t t = 0; t < 2; ++t) {
          const Index b = samples[e][i];
          doutput.col(Index(i)) += gate[t].weights(Index(e), b) * dmixed[t].col(b);
          dweights[t](Index(e), b) = dmixed[t].col(b).dot(outputs[e].col(Index(i)));
        }
      doutput.array() *= (outputs[e].array() > 0).cast<float>() / (1 - dropout);
      const Matrix dgathered = expert[e].backward(gathered[e], doutput);
      for (std::size_t i = 0; i < samples[e].size(); ++i)
        dx.col(samples[e][i]) += dgathered.col(Index(i));
    }
    for (std::size_t t = 0; t < 2; ++t) dx += gate[t].backward(x, dweights[t]);
    for (Index b = 0; b < batch; ++b) {
      user.gradient.col(user_ids[std::size_t(b)]) += dx.col(b).head(half);
      item.gradient.col(item_ids[std::size_t(b)]) += dx.col(b).tail(half);
    }
    adam();
  }

  void adam() {
    ++step;
    const float correction1 = 1 - std::pow(0.9F, float(step));
    const float correction2 = 1 - std::pow(0.999F, float(step));
    const auto update = [&](Tensor& tensor) { tensor.adam(1e-6F, correction1, correction2); };
    const auto update_linear = [&](Linear& linear) {
      update(linear.weight);
      update(linear.bias);
    };
    update(user);
    update(item);
    for (Linear& e : expert) update_linear(e);
    for (Gate& g : gate) {
      update_linear(g.split);
      update_linear(g.leaf);
    }
    for (Head& h : head) {
      update_linear(h.hidden);
      update_linear(h.output);
    }
  }
};

void training_step(benchmark::State& state) {
  const Index batch = state.range(0);
  Model model;
  std::vector<Index> user_ids, item_ids;
  Row watched(batch), rating(batch);
  for (Index b = 0; b < batch; ++b) {
    user_ids.push_back(b * 7919 % users);
    item_ids.push_back(b * 104729 % items);
    watched(b) = float(b % 2);
    rating(b) = float(b % 2 * (1 + b % 5));
  }
  for (auto _ : state) model.train(user_ids, item_ids, watched, rating);
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK(training_step)
    ->Name("peer/eigen_loop/training_step/n=16/k=2/d=256/m=256/threads=1/f32")
    ->ArgName("B")
    ->Arg(512)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
