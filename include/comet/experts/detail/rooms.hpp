// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/ordered_results.hpp>
#include <comet/core/types.hpp>
#include <comet/dispatch/columns.hpp>
#include <comet/dispatch/plan.hpp>
#include <comet/experts/detail/blocks.hpp>

/// \file
/// \brief What a thread has of its own while it runs experts, so that a batch's inputs and the
/// derivatives by them need not be there once more, expert by expert.

namespace comet::detail {

/// \brief Memory for some columns of each worker, or of each of so many others.
template <class S>
class Rooms {
 public:
  using Map = Eigen::Map<Matrix<S>>;

  /// Those of any worker begin at the same place in a cache line, so that bits of an expert that
  /// asks Eigen for sums do not depend on it.
  /// \param most_columns  that there may be the next time: memory is taken for these
  void shape(Index rows, Index columns, Index num_workers, Index most_columns) {
    rows_ = rows;
    values_.shape(in_lines(rows * columns), num_workers,
                  in_lines(rows * most_columns) * num_workers);
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
  /// Rounded up to whole cache lines.
  static Index in_lines(Index numbers) {
    constexpr Index line = 64 / Index(sizeof(S));
    return (numbers + line - 1) / line * line;
  }

  Buffer<S> values_;
  std::vector<Index> owners_;  // per worker
  Index rows_ = 0;
};

/// \brief Memory for the derivatives by the inputs of the tasks that are at work.
template <class S>
struct DerivativeRooms {
  void start(Index rows, Index columns, Index num_tasks, Index num_workers, Index most_columns) {
    const Index rooms = order.start(num_tasks, num_workers);
    values.shape(rows, columns, rooms, most_columns);
    places.resize(std::size_t(rooms));
  }

  OrderedResults::Memory order;
  Rooms<S> values;
  std::vector<Block> places;  // whose derivatives they hold
};

/// \brief Where the derivatives by the inputs of experts go: nowhere, to columns of their own, or
/// to those by the samples, which get them in ascending order of the expert.
template <class S>
class InputDerivatives {
 public:
  explicit InputDerivatives(Columns<S>& columns) : columns_(&columns) {}
  /// \param samples  empty where they are not wanted    \param rooms  for the tasks to come
  InputDerivatives(MatrixView<S>& samples, DerivativeRooms<S>& rooms)
      : samples_(samples.size() > 0 ? &samples : nullptr), rooms_(&rooms), in_order_(rooms.order) {}

  void check(const char* where, Index input_dim, const DispatchPlan& plan) const {
    if (samples_ == nullptr) return;
    check_equal(where, "dx.rows()", samples_->rows(), "input_dim", input_dim);
    check_equal(where, "dx.cols()", samples_->cols(), "plan.num_samples()", plan.num_samples());
  }

  /// To be called before the tasks.
  /// \param rows, columns  of the largest
  /// \param most_columns   as Rooms::shape()
  void start(Index rows, Index columns, Index num_tasks, Index num_workers, Index most_columns) {
    if (samples_ != nullptr) rooms_->start(rows, columns, num_tasks, num_workers, most_columns);
  }

  /// \brief Calls back(dx), which adds the derivatives by some columns to dx, or gets no_gradient.
  /// \param task, worker  of the ThreadPool; tasks have the experts in ascending order
  template <class F>
  void take(const DispatchPlan& plan, const Block& place, Index task, Index worker, F&& back) {
    if (columns_ != nullptr) {
      zeros_to(
          columns_->matrix().middleCols(plan.first_column(place.expert) + place.first, place.width),
          back);
    } else if (samples_ != nullptr) {
      in_order_.run(
          task, worker,
          [&](Index room) {
            rooms_->places[std::size_t(room)] = place;
            zeros_to(rooms_->values.of(room, place.width), back);
          },
          [&](Index /*task*/, Index room) { add(plan, room); });
    } else {
      back(no_gradient);
    }
  }

 private:
  template <class DX, class F>
  static void zeros_to(DX dx, F& back) {
    for (Index c = 0; c < dx.cols(); ++c) dx.col(c).setZero();
    back(dx);
  }
  void add(const DispatchPlan& plan, Index room) {
    const Block& place = rooms_->places[std::size_t(room)];
    const auto dx = rooms_->values.of(room, place.width);
    const auto samples = plan.samples(place.expert);
    const Index width = std::min(place.width, Index(samples.size()) - place.first);
    for (Index c = 0; c < width; ++c)
      samples_->col(samples[std::size_t(place.first + c)]) += dx.col(c);
  }

  Columns<S>* columns_ = nullptr;
  MatrixView<S>* samples_ = nullptr;  // d x B
  DerivativeRooms<S>* rooms_ = nullptr;
  OrderedResults in_order_;
};

}  // namespace comet::detail
