// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// Settings of an Embedding.
struct EmbeddingOptions {
  Index num_ids = 0;     ///< ids are 0..num_ids-1, num_ids >= 1
  Index output_dim = 0;  ///< m >= 1
};

/// \brief One trainable vector per id.
///
/// With several ids a sample, w in all, their vectors stand one below the other: y is (w m) x B,
/// and the ids of sample b are ids[b w .. b w + w - 1]. So w follows from the rows of y.
///
/// A look-up is the same in training and out of it, draws nothing and needs no scratch: forward()
/// takes neither key nor pass.
///
/// \par Cost     m copies per id forward, m additions backward
/// \par Threads  const
/// \tparam S     float or double
template <class S>
class Embedding {
 public:
  using Scalar = S;                  ///< float or double.
  using Options = EmbeddingOptions;  ///< Settings of the constructor.
  struct Workspace {};               ///< None is needed.

  /// Vectors uniform in +-0.05.
  /// \throws std::invalid_argument if a size is < 1
  Embedding(EmbeddingOptions options, RandomKey key)
      : vectors_((validate(options), options.output_dim), options.num_ids) {
    key.fill_uniform(vectors_, -0.05, 0.05);
  }

  /// Number of ids.
  [[nodiscard]] Index num_ids() const noexcept { return vectors_.cols(); }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept { return vectors_.rows(); }
  /// One vector per column: m x ids.
  [[nodiscard]] const Matrix<S>& vectors() const noexcept { return vectors_; }

  /// \brief y(:, b) = the vector of ids[b], or the vectors of the w ids of sample b.
  /// \param ids  w B    \param y  (w m) x B, overwritten; a block will do
  /// \throws std::invalid_argument if a shape does not fit or an id is out of range
  void forward(std::span<const std::int32_t> ids, MatrixView<S> y) const {
    constexpr const char* where = "Embedding::forward";
    const Index width = check(where, "y", y, ids);
    const Index m = output_dim();
    for (Index b = 0; b < y.cols(); ++b)
      for (Index i = 0; i < width; ++i)
        y.col(b).segment(i * m, m) = vectors_.col(ids[std::size_t(b * width + i)]);
  }

  /// \brief Adds the gradients of sum(dy . y), to pass.gradients(*this), in the order of the batch.
  /// \param ids  as in forward()    \param dy  (w m) x B
  void backward(std::span<const std::int32_t> ids, const ConstMatrixView<S>& dy,
                Pass<Embedding>& pass) const {
    constexpr const char* where = "Embedding::backward";
    const Index width = check(where, "dy", dy, ids);
    const Index m = output_dim();
    auto gradient = pass.gradients(*this)[0];
    for (Index b = 0; b < dy.cols(); ++b)
      for (Index i = 0; i < width; ++i)
        gradient.col(ids[std::size_t(b * width + i)]) += dy.col(b).segment(i * m, m);
  }

  /// Calls f(name, parameter) for the vectors, as "weight".
  template <class F>
  void visit(F&& f) const {
    f("weight", vectors_);
  }

 private:
  static void validate(const EmbeddingOptions& options) {
    detail::check_at_least("Embedding", "num_ids", options.num_ids, 1);
    detail::check_at_least("Embedding", "output_dim", options.output_dim, 1);
  }

  /// The number of ids a sample.
  Index check(const char* where, std::string_view name, const ConstMatrixView<S>& y,
              std::span<const std::int32_t> ids) const {
    const Index width = std::max(Index(1), y.rows() / output_dim());
    if (y.rows() != width * output_dim() || Index(ids.size()) != width * y.cols()) [[unlikely]] {
      const std::string rows = std::string(name) + ".rows()", cols = std::string(name) + ".cols()";
      detail::check_equal(where, rows, y.rows(),
                          width == 1 ? "output_dim" : std::to_string(width) + " output_dim",
                          width * output_dim());
      if (width == 1) detail::check_equal(where, cols, y.cols(), "ids.size()", Index(ids.size()));
      detail::check_equal(where, "ids.size()", Index(ids.size()),
                          std::to_string(width) + " " + cols, width * y.cols());
    }
    check_ids(where, ids);
    return width;
  }

  void check_ids(const char* where, std::span<const std::int32_t> ids) const {
    for (std::size_t b = 0; b < ids.size(); ++b)
      if (ids[b] < 0 || ids[b] >= num_ids()) [[unlikely]]
        detail::raise(where, "ids[" + std::to_string(b) + "]", ids[b],
                      "in 0.." + std::to_string(num_ids() - 1));
  }

  Parameter<S> vectors_;  // m x ids
};

}  // namespace comet
