// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/turns.hpp>
#include <comet/core/types.hpp>
#include <comet/dispatch/columns.hpp>
#include <comet/dispatch/plan.hpp>

/// \file
/// \brief What a thread has of its own while it runs experts, so that a batch's inputs and the
/// derivatives by them need not be there once more, expert by expert.

namespace comet::detail {

/// \brief Memory of each worker for some columns.
template <class S>
class Rooms {
 public:
  using Map = Eigen::Map<Matrix<S>>;

  /// Those of any worker begin at the same place in a cache line, so that bits of an expert that
  /// asks Eigen for sums do not hang on it.
  void shape(Index rows, Index columns, Index num_workers) {
    constexpr Index line = 64 / Index(sizeof(S));
    rows_ = rows;
    values_.shape((rows * columns + line - 1) / line * line, num_workers);
    owners_.assign(std::size_t(num_workers), -1);
  }
  /// Gives a worker's room to an expert. \return whether it has been that expert's
  bool give_to(Index worker, Index expert) {
    return std::exchange(owners_[std::size_t(worker)], expert) == expert;
  }
  /// A worker's.
  [[nodiscard]] S* data(Index worker) {
    auto all = values_.matrix();
    return all.data() + worker * all.rows();
  }
  /// So many columns of a worker's.
  [[nodiscard]] Map of(Index worker, Index columns) { return {data(worker), rows_, columns}; }

 private:
  Buffer<S> values_;
  std::vector<Index> owners_;  // per worker
  Index rows_ = 0;
};

/// \brief Where the derivatives by the inputs of experts go: nowhere, to columns of their own, or
/// to those by the samples, which get them in ascending order of the expert.
template <class S>
class InputDerivatives {
 public:
  InputDerivatives() = default;
  explicit InputDerivatives(Columns<S>& columns) : columns_(&columns) {}
  /// \param rooms  for as many columns as a task has
  InputDerivatives(MatrixView<S>& samples, Rooms<S>& rooms) : samples_(&samples), rooms_(&rooms) {}

  /// Whether tasks take rooms.
  [[nodiscard]] bool takes_rooms() const { return samples_ != nullptr; }

  /// \brief Calls back(dx), which adds the derivatives by columns first .. first + width - 1 of an
  /// expert to dx, or gets no_gradient.
  /// \param task, worker  of the ThreadPool; tasks have the experts in ascending order
  template <class F>
  void take(const DispatchPlan& plan, Index expert, Index first, Index width, Index task,
            Index worker, F&& back) {
    if (columns_ != nullptr) {
      auto dx = columns_->matrix().middleCols(plan.first_column(expert) + first, width);
      for (Index c = 0; c < width; ++c) dx.col(c).setZero();
      back(dx);
    } else if (samples_ != nullptr) {
      const Turns::Turn turn(turns_, task);
      auto dx = rooms_->of(worker, width);
      dx.setZero();
      back(dx);
      turn.wait();
      const auto samples = plan.samples(expert);
      for (Index c = 0; c < width && first + c < Index(samples.size()); ++c)
        samples_->col(samples[std::size_t(first + c)]) += dx.col(c);
    } else {
      back(no_gradient);
    }
  }

 private:
  Columns<S>* columns_ = nullptr;
  MatrixView<S>* samples_ = nullptr;  // d x B
  Rooms<S>* rooms_ = nullptr;
  Turns turns_;
};

}  // namespace comet::detail
