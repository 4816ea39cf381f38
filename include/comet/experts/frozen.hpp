// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/storage.hpp>
#include <comet/core/types.hpp>
#include <comet/kernels/stored_affine.hpp>

namespace comet {

/// \brief An expert that only predicts: affine maps with activations, one after another, their
/// weights in full, in half, or in eight bits. What DenseExpert and MlpExpert freeze to.
///
/// With Storage::full its results are the bits of the expert that it was made from. With less, they
/// are those of an expert with the rounded weights: inputs, sums and results keep S, but with
/// Storage::int8 the inputs of a sample are rounded to 16 bits, in steps of its largest one.
///
/// \par Cost  as the expert that it was made from; of few samples, where weights are read from
///            afar, about as much less as its weights are smaller
/// \tparam S  float or double
/// \see freeze, Storage
template <class S>
class FrozenExpert {
 public:
  using Scalar = S;  ///< float or double.
  /// A column's bits do not depend on its neighbours.
  static constexpr bool independent_columns = true;

  /// One of its maps, by the name that its tensors have in files ("" for one without).
  struct Part {
    std::string name;                ///< `name.weight`, `name.bias`.
    detail::StoredAffine<S> affine;  ///< What it does.
  };

  /// \param parts  one or more, each taking what the one before it gives
  /// \throws std::invalid_argument if they do not fit together
  explicit FrozenExpert(std::vector<Part> parts) : parts_(std::move(parts)) {
    detail::check_at_least("FrozenExpert", "parts.size()", Index(parts_.size()), 1);
    for (std::size_t i = 1; i < parts_.size(); ++i)
      detail::check_equal("FrozenExpert", "part.input_dim()", parts_[i].affine.input_dim(),
                          "output_dim() of the part before it", parts_[i - 1].affine.output_dim());
  }

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const { return parts_.front().affine.input_dim(); }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const { return parts_.back().affine.output_dim(); }
  /// What parts hand to each other.
  [[nodiscard]] Index cache_dim() const {
    Index rows = 0;
    for (std::size_t i = 0; i + 1 < parts_.size(); ++i) rows += parts_[i].affine.output_dim();
    return rows;
  }
  /// Multiply-adds of a column.
  [[nodiscard]] double cost() const {
    double sum = 0;
    for (const Part& part : parts_)
      sum += double(part.affine.input_dim()) * double(part.affine.output_dim());
    return sum;
  }
  /// How its weights are kept.
  [[nodiscard]] Storage storage() const { return parts_.front().affine.storage(); }
  /// Its maps, the first one first.
  [[nodiscard]] const std::vector<Part>& parts() const noexcept { return parts_; }

  /// \brief y = f(x). \param x  d x width \param y  m x width
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache) const {
    Index row = 0;  // of the cache, below what the part before has left there
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const auto& affine = parts_[i].affine;
      const Index in = affine.input_dim(), out = affine.output_dim();
      const ConstMatrixView<S> from =
          i == 0 ? x : ConstMatrixView<S>(cache.middleRows(row - in, in));
      if (i + 1 == parts_.size()) {
        affine.predict(from, y);
      } else {
        affine.predict(from, cache.middleRows(row, out));
      }
      row += out;
    }
  }

  /// Calls f(name, parameter) for weight, scale with Storage::int8, and bias of every part.
  template <class F>
  void visit(F&& f) const {
    for (const Part& part : parts_)
      part.affine.visit([&](const ParameterName& name, const auto& parameter) {
        if (part.name.empty()) {
          f(name, parameter);
        } else {
          f(ParameterName(part.name, name), parameter);
        }
      });
  }

 private:
  std::vector<Part> parts_;
};

}  // namespace comet
