// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <comet/core/types.hpp>

/// \file
/// \brief What a library of matrix products has to do for a mixture, and the libraries that do.
///
/// Each is one implementation in one source, so that none sees the headers of another; threads call
/// it at once, so it has none of its own.

namespace bench {

using comet::Index;
using Matrix = Eigen::MatrixXf;

/// \brief The three products of dense experts, by somebody's library.
class ProductLibrary {
 public:
  virtual ~ProductLibrary() = default;

  /// Name and version.
  [[nodiscard]] virtual std::string name() const = 0;
  /// Takes the weights of all experts, each d x m, packed as the library likes them best.
  virtual void set_weights(const std::vector<Matrix>& weights) = 0;
  /// Told once how many columns there will be, so that what is made for a shape is made before.
  virtual void prepare(Index /*columns*/) {}

  /// y = W^T x, for W of an expert. \param x  d x c \param y  m x c, contiguous
  virtual void forward(std::size_t expert, Index columns, const float* x, float* y) const = 0;
  /// dx = W dz. \param dz  m x c \param dx  d x c, contiguous
  virtual void input_gradient(std::size_t expert, Index columns, const float* dz,
                              float* dx) const = 0;
  /// dw += x dz^T, d x m.
  virtual void weight_gradient(Index columns, const float* x, const float* dz, float* dw) const = 0;
};

using Library = std::unique_ptr<ProductLibrary>;

/// Each for experts of d inputs and m outputs; null if the library is not installed.
Library eigen_library(Index d, Index m);
Library open_blas(Index d, Index m);
Library blis(Index d, Index m);
#ifdef COMET_BENCH_LIBXSMM
Library libxsmm(Index d, Index m);
#endif
#ifdef COMET_BENCH_ONEDNN
Library onednn(Index d, Index m);
#endif

}  // namespace bench
