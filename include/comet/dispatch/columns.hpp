// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/dispatch/plan.hpp>

/// \file
/// \brief From samples to the columns that experts work on, and the gradients back.

namespace comet {

/// \brief Numbers by the columns of a plan: inputs or outputs of experts, or their derivatives.
///
/// An expert that serves every sample may read the samples as they stand, without a copy: its
/// columns are then those of the matrix that gather() was given, which has to stay.
template <class S>
class Columns {
 public:
  /// A column of each pair, one below the other; contents are unspecified.
  Eigen::Map<Matrix<S>> shape(Index rows, const DispatchPlan& plan) {
    source_ = nullptr;
    is_gathered_ = true;
    rows_ = rows;
    cols_ = plan.num_columns();
    return storage_.shape(rows, cols_);
  }
  /// The same, unless it has this shape already: then contents stay.
  void fit(Index rows, const DispatchPlan& plan) {
    if (!has_all() || rows_ != rows || cols_ != plan.num_columns()) shape(rows, plan);
  }
  /// \brief Nothing is copied and no memory taken: columns stay in the samples x, which have to
  /// stay, until of() is asked for some.
  void leave_in(const ConstMatrixView<S>& x, const DispatchPlan& plan) {
    read_from(x);
    is_gathered_ = false;
    rows_ = x.rows();
    cols_ = plan.num_columns();
  }
  /// Samples that are gone when they are asked for.
  template <detail::Fleeting X>
  void leave_in(X&& x, const DispatchPlan& plan) = delete;

  /// Whether the columns are here, those of experts that read the samples excepted.
  [[nodiscard]] bool is_gathered() const { return is_gathered_; }
  /// Whether every column is in matrix(): none is read from samples.
  [[nodiscard]] bool has_all() const { return is_gathered_ && source_ == nullptr; }
  /// Numbers in a column.
  [[nodiscard]] Index rows() const { return rows_; }
  /// Number of columns.
  [[nodiscard]] Index cols() const { return cols_; }
  /// All columns, those of experts that read the samples excepted.
  [[nodiscard]] Eigen::Map<Matrix<S>> matrix() { return storage_.matrix(); }
  /// All columns, those of experts that read the samples excepted.
  [[nodiscard]] Eigen::Map<const Matrix<S>> matrix() const { return storage_.matrix(); }

  /// From now on experts that serve every sample read x.
  void read_from(const ConstMatrixView<S>& x) {
    source_ = x.data();
    source_stride_ = x.outerStride();
  }
  /// Samples that are gone when they are read.
  template <detail::Fleeting X>
  void read_from(X&& x) = delete;
  /// From now on no expert reads samples: its columns have been put into matrix().
  void read_no_samples() { source_ = nullptr; }

  /// A view of columns first .. first + width - 1 of an expert.
  [[nodiscard]] auto of(const DispatchPlan& plan, Index expert, Index first, Index width) const {
    if (reads_samples(plan, expert, first + width))
      return view(source_ + first * source_stride_, width, source_stride_);
    return view(storage_.matrix().data() + (plan.first_column(expert) + first) * rows_, width,
                rows_);
  }
  /// \brief The same, of columns that may have been left in the samples: those are copied first.
  /// \param room      for rows() * width numbers: where to
  /// \param is_there  whether a call like this one has put them there
  [[nodiscard]] auto of(const DispatchPlan& plan, Index expert, Index first, Index width, S* room,
                        bool is_there = false) const {
    if (is_gathered_ || reads_samples(plan, expert, first + width))
      return of(plan, expert, first, width);
    if (is_there) return view(room, width, rows_);
    const auto samples = plan.column_samples().subspan(
        std::size_t(plan.first_column(expert) + first), std::size_t(width));
    S* column = room;
    for (const SampleId sample : samples) {
      if (sample >= 0) {
        std::copy_n(source_ + sample * source_stride_, rows_, column);
      } else {
        std::fill_n(column, rows_, S(0));
      }
      column += rows_;
    }
    return view(room, width, rows_);
  }

 private:
  using View = Eigen::Map<const Matrix<S>, 0, Eigen::OuterStride<>>;

  /// Padding is not among the samples: a block that has some is copied.
  [[nodiscard]] bool reads_samples(const DispatchPlan& plan, Index expert, Index last) const {
    return source_ != nullptr && plan.serves_all(expert) && last <= plan.num_samples();
  }
  [[nodiscard]] View view(const S* first, Index width, Index stride) const {
    return View(first, rows_, width, Eigen::OuterStride<>(stride));
  }

  Buffer<S> storage_;
  bool is_gathered_ = true;
  Index rows_ = 0;
  Index cols_ = 0;
  const S* source_ = nullptr;
  Index source_stride_ = 0;
};

namespace detail {

/// That columns are all in memory of their own.
template <class S>
void check_has_all(std::string_view where, std::string_view name, const Columns<S>& columns) {
  if (!columns.has_all()) [[unlikely]]
    raise(where, std::string(name) +
                     " are read from samples (gather, leave_in), expected columns of their own "
                     "(shape)");
}

/// What is written must not be what is read.
template <class S>
void check_apart(std::string_view where, std::string_view a_name, const Columns<S>& a,
                 std::string_view b_name, const Columns<S>& b) {
  if (&a == &b) [[unlikely]]
    raise(where, std::string(a_name) + " are the same object as " + std::string(b_name) +
                     ", expected another one");
}

/// That columns have as many rows as an expert's `dim` says, and are those of the plan.
template <class S>
void check_columns(std::string_view where, std::string_view name, const Columns<S>& columns,
                   std::string_view dim, Index rows, const DispatchPlan& plan) {
  if (columns.rows() == rows && columns.cols() == plan.num_columns()) [[likely]]
    return;
  const std::string text(name);
  check_equal(where, text + ".rows()", columns.rows(), dim, rows);
  check_equal(where, text + ".cols()", columns.cols(), "plan.num_columns()", plan.num_columns());
}

}  // namespace detail

/// \brief Stage 2: columns = the samples of every expert, side by side; padding is 0.
/// \param x        d x B, must stay until the columns are gathered anew
/// \param columns  d x columns of the plan, overwritten
/// \throws std::invalid_argument unless the plan is of so many samples
/// \par Cost  one copy per pair, but none for an expert that serves the whole batch
template <class S>
void gather(const ConstMatrixView<std::type_identity_t<S>>& x, const DispatchPlan& plan,
            Columns<S>& columns, ThreadPool* pool = nullptr) {
  detail::check_equal("gather", "x.cols()", x.cols(), "plan.num_samples()", plan.num_samples());
  auto all = columns.shape(x.rows(), plan);
  columns.read_from(x);
  const auto samples = plan.column_samples();
  pool = detail::worth_threads(pool, double(all.size()) * 8);
  parallel_for(pool, plan.num_experts(), [&](Index expert, Index) {
    const Index first = plan.first_column(expert);
    const Index padded = plan.padded_count(expert);
    if (plan.serves_all(expert) && padded == plan.num_samples()) return;
    for (Index c = first; c < first + padded; ++c) {
      const SampleId sample = samples[std::size_t(c)];
      if (sample >= 0) {
        all.col(c) = x.col(sample);
      } else {
        all.col(c).setZero();
      }
    }
  });
}

/// Samples that are gone when the columns are read.
template <class S, detail::Fleeting X>
void gather(X&& /*x*/, const DispatchPlan& /*plan*/, Columns<S>& /*columns*/,
            ThreadPool* /*pool*/ = nullptr) {
  static_assert(!detail::Fleeting<X>,
                "comet::gather: x is an expression or a matrix without a name, and gone when the "
                "columns are read: an expert that serves every sample reads x where it is");
}

/// \brief Stage 2, backwards: dx(:, b) += the derivatives by all columns of sample b, in ascending
/// order of the expert.
/// \param dcolumns  d x columns    \param dx  d x B, added to
/// \throws std::invalid_argument if a shape does not fit
template <class S>
void gather_back(const Columns<S>& dcolumns, const DispatchPlan& plan,
                 MatrixView<std::type_identity_t<S>> dx, ThreadPool* pool = nullptr) {
  constexpr const char* where = "gather_back";
  detail::check_has_all(where, "dcolumns", dcolumns);
  const auto all = dcolumns.matrix();
  detail::check_equal(where, "dcolumns.cols()", all.cols(), "plan.num_columns()",
                      plan.num_columns());
  detail::check_equal(where, "dx.rows()", dx.rows(), "dcolumns.rows()", all.rows());
  detail::check_equal(where, "dx.cols()", dx.cols(), "plan.num_samples()", plan.num_samples());
  pool = detail::worth_threads(pool, double(all.size()) * 8);
  detail::for_each_sample(pool, plan.num_samples(), [&](Index b) {
    for (const std::int32_t column : plan.columns(b)) dx.col(b) += all.col(column);
  });
}

}  // namespace comet
