// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
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
/// weights in full, in half, or in eight bits. What DenseExpert, MlpExpert and GatedMlpExpert freeze
/// to.
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

  /// A map, by the name that its tensors have in files ("" for one without).
  struct Map {
    std::string name;                ///< `name.weight`, `name.bias`.
    detail::StoredAffine<S> affine;  ///< What it does.
  };
  /// A map, and maybe another one of the same input whose outputs its own are multiplied by,
  /// element by element.
  struct Part {
    std::string name;                ///< `name.weight`, `name.bias`.
    detail::StoredAffine<S> affine;  ///< What it does.
    std::optional<Map> factor{};     ///< The other one.
  };

  /// \param parts  one or more, each taking what the one before it gives
  /// \throws std::invalid_argument if they do not fit together
  explicit FrozenExpert(std::vector<Part> parts) : parts_(std::move(parts)) {
    detail::check_at_least("FrozenExpert", "parts.size()", Index(parts_.size()), 1);
    for (std::size_t i = 1; i < parts_.size(); ++i)
      detail::check_equal("FrozenExpert", "part.input_dim()", parts_[i].affine.input_dim(),
                          "output_dim() of the part before it", parts_[i - 1].affine.output_dim());
    for (const Part& part : parts_) {
      if (!part.factor) continue;
      const detail::StoredAffine<S>&factor = part.factor->affine, &map = part.affine;
      detail::check_equal("FrozenExpert", "factor.input_dim()", factor.input_dim(),
                          "input_dim() of its part", map.input_dim());
      detail::check_equal("FrozenExpert", "factor.output_dim()", factor.output_dim(),
                          "output_dim() of its part", map.output_dim());
    }
  }

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const { return parts_.front().affine.input_dim(); }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const { return parts_.back().affine.output_dim(); }
  /// What parts hand to each other, and factors.
  [[nodiscard]] Index cache_dim() const {
    Index rows = 0;
    for (const Part& part : parts_) {
      if (&part != &parts_.back()) rows += part.affine.output_dim();
      if (part.factor) rows += part.affine.output_dim();
    }
    return rows;
  }
  /// Multiply-adds of a column.
  [[nodiscard]] double cost() const {
    double sum = 0;
    for (const Part& part : parts_)
      sum += double(part.affine.input_dim()) * double(part.affine.output_dim()) *
             (part.factor ? 2 : 1);
    return sum;
  }
  /// How its weights are kept.
  [[nodiscard]] Storage storage() const { return parts_.front().affine.storage(); }
  /// Its maps, the first one first.
  [[nodiscard]] const std::vector<Part>& parts() const noexcept { return parts_; }

  /// \brief y = f(x). \param x  d x width \param y  m x width
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache) const {
    Index input = 0, free = 0;  // rows of the cache: what the part before left, and the next ones
    for (const Part& part : parts_) {
      const bool first = &part == &parts_.front(), last = &part == &parts_.back();
      const Index in = part.affine.input_dim(), out = part.affine.output_dim();
      const ConstMatrixView<S> from = first ? x : ConstMatrixView<S>(cache.middleRows(input, in));
      MatrixView<S> to = last ? y : MatrixView<S>(cache.middleRows(free, out));
      input = free;
      if (!last) free += out;
      part.affine.predict(from, to);
      if (!part.factor) continue;
      MatrixView<S> factor = cache.middleRows(free, out);
      free += out;
      part.factor->affine.predict(from, factor);
      to.array() *= factor.array();
    }
  }

  /// Calls f(name, parameter) for weight, scale with Storage::int8, and bias of every map.
  template <class F>
  void visit(F&& f) const {
    const auto visit_map = [&](const auto& map) {
      map.affine.visit([&](const ParameterName& name, const auto& parameter) {
        if (map.name.empty()) {
          f(name, parameter);
        } else {
          f(ParameterName(map.name, name), parameter);
        }
      });
    };
    for (const Part& part : parts_) {
      visit_map(part);
      if (part.factor) visit_map(*part.factor);
    }
  }

 private:
  std::vector<Part> parts_;
};

}  // namespace comet
