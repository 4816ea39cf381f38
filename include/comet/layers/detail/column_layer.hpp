// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief A column function as a layer: the passes over a whole batch, block by block.

namespace comet::detail {

/// Scratch of a pass of such a layer.
template <class S>
struct ColumnScratch {
  Buffer<S> cache;         // cache_dim x B, of the forward() that backward() may follow
  Buffer<S> worker_cache;  // of predict(), a block's for each worker
  Buffer<S> dy;            // m x B, for backward() to use up
};

template <class Layer, class X, class Y>
void check_columns(std::string_view where, const Layer& layer, const X& x, const Y& y,
                   const std::string& y_name) {
  check_equal(where, "x.rows()", x.rows(), "input_dim", layer.input_dim());
  check_equal(where, y_name + ".rows()", y.rows(), "output_dim", layer.output_dim());
  check_equal(where, y_name + ".cols()", y.cols(), "x.cols()", x.cols());
}

/// What predict() and forward() ask: a column of y is written while that of x is still read.
template <class Layer, class X, class Y>
void check_column_outputs(std::string_view where, const Layer& layer, const X& x, const Y& y) {
  check_columns(where, layer, x, y, "y");
  check_apart(where, "y", y, "x", x);
}

template <class Layer>
ThreadPool* column_threads(const Layer& layer, Index count, const Pass<Layer>& pass) {
  return worth_threads(pass.pool, double(count) * layer.cost());
}

/// f(first, width, worker) for blocks of 0..count-1, which threads share.
template <class F>
void for_each_block(ThreadPool* pool, Index count, Index block, F&& f) {
  parallel_for(pool, (count + block - 1) / block, [&](Index i, Index worker) {
    f(i * block, std::min(block, count - i * block), worker);
  });
}

/// \param block  columns that a thread takes at once
template <class Layer, class S>
void predict_columns(std::string_view where, const Layer& layer, Index block,
                     const ConstMatrixView<S>& x, MatrixView<S>& y, Pass<Layer>& pass) {
  check_column_outputs(where, layer, x, y);
  ThreadPool* pool = column_threads(layer, x.cols(), pass);
  auto caches = pass.workspace.worker_cache.shape(layer.cache_dim(),
                                                  std::min(block, x.cols()) * num_workers(pool));
  for_each_block(pool, x.cols(), block, [&](Index first, Index width, Index worker) {
    layer.predict(x.middleCols(first, width), y.middleCols(first, width),
                  caches.middleCols(std::min(block, x.cols()) * worker, width));
  });
}

template <class Layer, class S>
void forward_columns(std::string_view where, const Layer& layer, Index block,
                     const ConstMatrixView<S>& x, MatrixView<S>& y, Pass<Layer>& pass) {
  check_column_outputs(where, layer, x, y);
  auto cache = pass.workspace.cache.shape(layer.cache_dim(), x.cols());
  for_each_block(column_threads(layer, x.cols(), pass), x.cols(), block,
                 [&](Index first, Index width, Index) {
                   layer.forward(x.middleCols(first, width), y.middleCols(first, width),
                                 cache.middleCols(first, width), TrainingTile{RandomKey(0), {}});
                 });
}

template <class Layer, class S>
void backward_columns(std::string_view where, const Layer& layer, Index block,
                      const ConstMatrixView<S>& x, const ConstMatrixView<S>& y,
                      const ConstMatrixView<S>& dy, MatrixView<S>& dx, Pass<Layer>& pass) {
  check_columns(where, layer, x, y, "y");
  check_columns(where, layer, x, dy, "dy");
  check_input_gradient(where, dx, x);
  check_apart(where, "dx", dx, "dy", dy);
  if (x.cols() == 0) return;
  // A layer that keeps nothing needs no forward().
  auto cache = layer.cache_dim() > 0 ? pass.workspace.cache.matrix()
                                     : pass.workspace.cache.shape(0, x.cols());
  if (cache.rows() != layer.cache_dim() || cache.cols() != x.cols())
    raise(where, "the pass holds no forward() of this batch; call it first");
  ThreadPool* pool = column_threads(layer, x.cols(), pass);
  auto dz = pass.workspace.dy.shape(layer.output_dim(), x.cols());
  for_each_block(pool, x.cols(), block, [&](Index first, Index width, Index) {
    dz.middleCols(first, width) = dy.middleCols(first, width);
    layer.backward_columns(
        x.middleCols(first, width), y.middleCols(first, width), cache.middleCols(first, width),
        dz.middleCols(first, width),
        dx.size() > 0 ? MatrixView<S>(dx.middleCols(first, width)) : MatrixView<S>(no_gradient));
  });
  if (layer.num_slices() == 0) return;
  const GradientView<S> gradients = pass.gradients(layer);
  parallel_for(pool, layer.num_slices(), [&](Index slice, Index) {
    layer.accumulate_gradients(x, cache, dz, slice, gradients);
  });
}

}  // namespace comet::detail
