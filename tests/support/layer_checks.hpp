// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <comet/core/pass.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/allocation_counter.hpp>
#include <support/catch.hpp>
#include <support/model.hpp>

/// \file
/// \brief What every layer of columns has to keep.

namespace comet::test {

/// The gradients of a layer by its parameters and by x agree with differences.
/// \return how many numbers were compared
template <class Layer>
Index check_layer_gradients(Layer& layer, const Matrix<double>& x) {
  WithInput model(layer, x);
  const Matrix<double> upstream = random_matrix<double>(layer.output_dim(), x.cols(), 3);
  Pass pass(layer);
  Matrix<double> y(upstream.rows(), upstream.cols());
  const auto loss = [&] {
    layer.forward(model.x, y, RandomKey(0), pass);
    return y.cwiseProduct(upstream).sum();
  };
  const auto result = testing::check_gradients(model, loss, [&](GradientView<double> gradients) {
    loss();
    if constexpr (Parametric<Layer>) pass.borrow(model.of_part(gradients));
    layer.backward(model.x, y, upstream, model.of_input(gradients), pass);
  });
  INFO(result.where << ": " << result.analytic << " against " << result.numeric);
  CHECK(result.largest_error <= 1e-6);
  return result.num_checked;
}

/// What a layer makes of a batch.
struct LayerResult {
  Matrix<float> y, dx;
};

/// A layer gives the same bits for 1, 2 and 4 threads, in predict() too, and allocates nothing; a
/// column by itself has the bits that it has in the batch.
template <class Layer>
void check_layer_bits(const Layer& layer, Index columns, const std::vector<Index>& alone) {
  const Matrix<float> x = random_matrix<float>(layer.input_dim(), columns, 2);
  const Matrix<float> dy = random_matrix<float>(layer.output_dim(), columns, 3);
  const auto run = [&](const auto& in, const auto& upstream, Pass<Layer>& pass) {
    LayerResult result{Matrix<float>(layer.output_dim(), in.cols()),
                       Matrix<float>::Ones(layer.input_dim(), in.cols())};
    layer.forward(in, result.y, RandomKey(0), pass);
    layer.backward(in, result.y, upstream, result.dx, pass);
    return result;
  };
  LayerResult expected;
  std::vector<float> expected_gradients;
  for (const Index threads : {1, 2, 4}) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    Pass pass(layer, &pool);
    LayerResult result = run(x, dy, pass);
    if (threads == 1) {
      expected = result;
      expected_gradients = gradients_of(layer, pass);
    }
    CHECK(same_bits(result.y, expected.y));
    CHECK(same_bits(result.dx, expected.dx));
    CHECK(same_bits(gradients_of(layer, pass), expected_gradients));
    Matrix<float> predicted(result.y.rows(), columns);
    layer.predict(x, predicted, pass);
    CHECK(same_bits(predicted, expected.y));
    for (const Index b : alone) {
      Pass alone_pass(layer);
      const LayerResult one = run(x.col(b), dy.col(b), alone_pass);
      CHECK(same_bits(one.y, expected.y.col(b)));
      Matrix<float> predicted_alone(one.y.rows(), 1);
      layer.predict(x.col(b), predicted_alone, pass);
      CHECK(same_bits(predicted_alone, expected.y.col(b)));
      CHECK(same_bits(one.dx, expected.dx.col(b)));
    }
    if (!can_count_allocations) continue;
    CHECK(count_allocations([&] {
            layer.forward(x, result.y, RandomKey(0), pass);
            layer.backward(x, result.y, dy, result.dx, pass);
          }) == 0);
    CHECK(count_allocations([&] { layer.predict(x, predicted, pass); }) == 0);
  }
}

}  // namespace comet::test
