// SPDX-License-Identifier: MIT
#include <algorithm>
#include <map>

#include <libxsmm.h>

#include <libraries/product_library.hpp>

/// \file
/// \brief LIBXSMM: a function is generated for every shape. Weights are in panels of 32 rows, as
/// its authors have them in their own layers.

namespace bench {

namespace {

using Function = libxsmm_smmfunction;

constexpr Index panel = 32;

/// c = a b, or c += a b, for matrices with these distances between their columns.
Function generate(Index rows, Index columns, Index depth, Index lda, Index ldb, Index ldc,
                  bool b_transposed, bool accumulate) {
  const auto size = [](Index value) { return libxsmm_blasint(value); };
  const libxsmm_blasint a_step = size(lda), b_step = size(ldb), c_step = size(ldc);
  const float one = 1, beta = accumulate ? 1 : 0;
  const int flags = b_transposed ? LIBXSMM_GEMM_FLAG_TRANS_B : LIBXSMM_GEMM_FLAG_NONE;
  return libxsmm_smmdispatch(size(rows), size(columns), size(depth), &a_step, &b_step, &c_step,
                             &one, &beta, &flags, nullptr);
}

/// Panels of `panel` rows of a matrix, each contiguous. The rows are a multiple of it.
std::vector<float> in_panels(const Matrix& matrix) {
  std::vector<float> values;
  for (Index first = 0; first < matrix.rows(); first += panel) {
    const Matrix part = matrix.middleRows(first, panel);
    values.insert(values.end(), part.data(), part.data() + part.size());
  }
  return values;
}

class Libxsmm final : public ProductLibrary {
 public:
  Libxsmm(Index d, Index m) : d_(d), m_(m) { libxsmm_init(); }

  [[nodiscard]] std::string name() const override { return "LIBXSMM " LIBXSMM_VERSION; }

  void set_weights(const std::vector<Matrix>& weights) override {
    for (const Matrix& weight : weights) {
      forward_.push_back(in_panels(weight.transpose()));
      backward_.push_back(in_panels(weight));
    }
  }

  void prepare(Index columns) override {
    if (columns == 0 || functions_.contains(columns)) return;
    for_each_strip(columns, [&](Index, Index width) {
      if (!strips_.contains(width))
        strips_[width] = {generate(panel, width, d_, panel, d_, m_, false, false),
                          generate(panel, width, m_, panel, m_, d_, false, false)};
    });
    functions_[columns] = generate(panel, m_, columns, d_, m_, d_, true, true);
  }

  void forward(std::size_t expert, Index columns, const float* x, float* y) const override {
    for_each_strip(columns, [&](Index first, Index width) {
      const Function function = strips_.at(width).forward;
      for (Index row = 0; row < m_; row += panel)
        function(forward_[expert].data() + row * d_, x + first * d_, y + row + first * m_);
    });
  }

  void input_gradient(std::size_t expert, Index columns, const float* dz,
                      float* dx) const override {
    for_each_strip(columns, [&](Index first, Index width) {
      const Function function = strips_.at(width).backward;
      for (Index row = 0; row < d_; row += panel)
        function(backward_[expert].data() + row * m_, dz + first * m_, dx + row + first * d_);
    });
  }

  void weight_gradient(Index columns, const float* x, const float* dz, float* dw) const override {
    const Function function = functions_.at(columns);
    for (Index row = 0; row < d_; row += panel) function(x + row, dz, dw + row);
  }

 private:
  struct Strip {
    Function forward, backward;
  };

  /// Columns that stay in the second-level cache while the panels pass, in nearly equal parts.
  template <class F>
  static void for_each_strip(Index columns, F&& f) {
    constexpr Index most = 64;
    const Index strips = (columns + most - 1) / most;
    for (Index i = 0; i < strips; ++i) {
      const Index first = columns * i / strips;
      f(first, columns * (i + 1) / strips - first);
    }
  }

  Index d_, m_;
  std::vector<std::vector<float>> forward_, backward_;  // of W^T and of W
  std::map<Index, Strip> strips_;                       // by width
  std::map<Index, Function> functions_;                 // by columns, of weight_gradient
};

}  // namespace

Library libxsmm(Index d, Index m) { return std::make_unique<Libxsmm>(d, m); }

}  // namespace bench
