// SPDX-License-Identifier: MIT
#include <dlfcn.h>

#include <libraries/product_library.hpp>

/// \file
/// \brief OpenBLAS and BLIS: both are `cblas_sgemm`, so each is loaded by its name and asked for
/// its own.

namespace bench {

namespace {

enum Order : int { column_major = 102 };
enum Transpose : int { plain = 111, transposed = 112 };

using Gemm = void (*)(Order, Transpose, Transpose, int m, int n, int k, float alpha, const float* a,
                      int lda, const float* b, int ldb, float beta, float* c, int ldc);

template <class Function>
Function symbol(void* library, const char* name) {
  return reinterpret_cast<Function>(dlsym(library, name));  // NOLINT: there is no other way
}

class Blas final : public ProductLibrary {
 public:
  Blas(std::string name, Gemm gemm, Index d, Index m)
      : name_(std::move(name)), gemm_(gemm), d_(int(d)), m_(int(m)) {}

  [[nodiscard]] std::string name() const override { return name_; }
  void set_weights(const std::vector<Matrix>& weights) override { weights_ = weights; }

  void forward(std::size_t expert, Index columns, const float* x, float* y) const override {
    gemm_(column_major, transposed, plain, m_, int(columns), d_, 1, weights_[expert].data(), d_, x,
          d_, 0, y, m_);
  }
  void input_gradient(std::size_t expert, Index columns, const float* dz,
                      float* dx) const override {
    gemm_(column_major, plain, plain, d_, int(columns), m_, 1, weights_[expert].data(), d_, dz, m_,
          0, dx, d_);
  }
  void weight_gradient(Index columns, const float* x, const float* dz, float* dw) const override {
    gemm_(column_major, plain, transposed, d_, m_, int(columns), 1, x, d_, dz, m_, 1, dw, d_);
  }

 private:
  std::string name_;
  Gemm gemm_;
  int d_, m_;
  std::vector<Matrix> weights_;
};

/// With functions of its own only: both libraries define the names of BLAS.
void* load(const char* file) { return dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND); }

}  // namespace

Library open_blas(Index d, Index m) {
  void* library = load("libopenblas.so.0");
  if (library == nullptr) return nullptr;
  symbol<void (*)(int)>(library, "openblas_set_num_threads")(1);
  // "OpenBLAS 0.3.21 NO_LAPACKE ...", of which the number is wanted.
  std::string name = symbol<const char* (*)()>(library, "openblas_get_config")();
  return std::make_unique<Blas>(name.substr(0, name.find(' ', name.find(' ') + 1)),
                                symbol<Gemm>(library, "cblas_sgemm"), d, m);
}

Library blis(Index d, Index m) {
  void* library = load("libblis.so.4");
  if (library == nullptr) return nullptr;
  symbol<void (*)(long)>(library, "bli_thread_set_num_threads")(1);
  return std::make_unique<Blas>(
      std::string("BLIS ") + symbol<const char* (*)()>(library, "bli_info_get_version_str")(),
      symbol<Gemm>(library, "cblas_sgemm"), d, m);
}

}  // namespace bench
