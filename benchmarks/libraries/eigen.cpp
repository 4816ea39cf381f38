// SPDX-License-Identifier: MIT
#include <libraries/product_library.hpp>

namespace bench {

namespace {

/// As one would write it.
class EigenProducts final : public ProductLibrary {
 public:
  EigenProducts(Index d, Index m) : d_(d), m_(m) {}

  [[nodiscard]] std::string name() const override {
    return "Eigen " + std::to_string(EIGEN_WORLD_VERSION) + "." +
           std::to_string(EIGEN_MAJOR_VERSION) + "." + std::to_string(EIGEN_MINOR_VERSION);
  }
  void set_weights(const std::vector<Matrix>& weights) override { weights_ = weights; }

  void forward(std::size_t expert, Index columns, const float* x, float* y) const override {
    Out(y, m_, columns).noalias() = weights_[expert].transpose() * In(x, d_, columns);
  }
  void input_gradient(std::size_t expert, Index columns, const float* dz,
                      float* dx) const override {
    Out(dx, d_, columns).noalias() = weights_[expert] * In(dz, m_, columns);
  }
  void weight_gradient(Index columns, const float* x, const float* dz, float* dw) const override {
    Out(dw, d_, m_).noalias() += In(x, d_, columns) * In(dz, m_, columns).transpose();
  }

 private:
  using In = Eigen::Map<const Matrix>;
  using Out = Eigen::Map<Matrix>;

  Index d_, m_;
  std::vector<Matrix> weights_;
};

}  // namespace

Library eigen_library(Index d, Index m) { return std::make_unique<EigenProducts>(d, m); }

}  // namespace bench
