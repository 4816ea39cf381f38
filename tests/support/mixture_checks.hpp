// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>

/// \file
/// \brief What is tried of a mixture, whatever its gate and its experts; of layers of columns see
/// layer_checks.hpp.

namespace comet::test {

/// The layer's gradients of sum(dy . y), by its parameters and by x, beside differences; the same
/// units are dropped every time.
template <class Layer>
testing::GradientCheckResult check_mixture_gradients(Layer& layer, const Matrix<double>& x,
                                                     const Matrix<double>& dy) {
  Pass pass(layer);
  WithInput model(layer, x);
  Matrix<double> y(dy.rows(), dy.cols());
  const auto loss = [&] {
    layer.forward(model.x, y, RandomKey(4), pass);
    return y.cwiseProduct(dy).sum();
  };
  return testing::check_gradients(model, loss, [&](GradientView<double> gradients) {
    loss();
    pass.borrow(model.of_part(gradients));
    layer.backward(model.x, dy, model.of_input(gradients), pass);
  });
}

/// All gradients have the same bits for any number of threads.
template <class Layer, class S>
void check_mixture_threads(const Layer& layer, const Matrix<S>& x) {
  std::vector<S> reference;
  for (const Index threads : {1, 2, 4}) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    Pass pass(layer, &pool);
    Matrix<S> y(layer.output_dim(), x.cols()), dx = Matrix<S>::Zero(x.rows(), x.cols());
    layer.forward(x, y, RandomKey(1), pass);
    layer.backward(x, y, dx, pass);
    auto all = gradients_of(layer, pass);
    all.insert(all.end(), dx.data(), dx.data() + dx.size());
    if (threads == 1) reference = all;
    CHECK(same_bits(all, reference));
  }
}

}  // namespace comet::test
