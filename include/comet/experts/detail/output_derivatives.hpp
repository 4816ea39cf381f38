// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include <comet/core/types.hpp>
#include <comet/dispatch/columns.hpp>
#include <comet/dispatch/combine.hpp>
#include <comet/dispatch/plan.hpp>
#include <comet/experts/detail/blocks.hpp>
#include <comet/experts/detail/rooms.hpp>

namespace comet::detail {

/// \brief The outputs of experts and the derivatives by them: columns of their own each, or in one
/// place, where a block's derivatives are made and take that of its outputs once these are wanted.
template <class S>
class OutputDerivatives {
 public:
  OutputDerivatives(const Columns<S>& outputs, Columns<S>& doutputs)
      : outputs_(&outputs), doutputs_(&doutputs) {}
  /// \param outputs  the derivatives afterwards    \param rooms  for a block's outputs
  OutputDerivatives(Columns<S>& outputs, const MixtureDerivatives<S>& mixture, Rooms<S>& rooms)
      : outputs_(&outputs), doutputs_(&outputs), mixture_(&mixture), rooms_(&rooms) {}

  /// \param columns  the inputs of the experts
  void check(const char* where, Index output_dim, const DispatchPlan& plan,
             const Columns<S>& columns) const {
    check_has_all(where, "outputs", *outputs_);
    check_has_all(where, "doutputs", *doutputs_);
    check_columns(where, "outputs", *outputs_, "output_dim", output_dim, plan);
    check_apart(where, "doutputs", *doutputs_, "columns", columns);
    if (mixture_ == nullptr) {
      check_apart(where, "doutputs", *doutputs_, "outputs", *outputs_);
      check_columns(where, "doutputs", *doutputs_, "output_dim", output_dim, plan);
    } else {
      check_equal(where, "dy.rows()", mixture_->rows(), "output_dim", output_dim);
      check_equal(where, "columns of the mixture's plan", mixture_->plan().num_columns(),
                  "plan.num_columns()", plan.num_columns());
    }
  }

  /// To be called before outputs(). \param columns  of the largest block
  /// \param most_columns  as Rooms::shape()
  void start(Index columns, Index num_workers, Index most_columns) {
    if (mixture_ != nullptr) rooms_->shape(doutputs_->rows(), columns, num_workers, most_columns);
  }
  /// The outputs of some of an expert's columns, until this worker asks for others: from then on
  /// derivatives() has those by them.
  [[nodiscard]] ConstMatrixView<S> outputs(const DispatchPlan& plan, const Block& block,
                                           Index worker) {
    const Index column = plan.first_column(block.expert) + block.first;
    if (mixture_ == nullptr) return outputs_->matrix().middleCols(column, block.width);
    auto room = rooms_->of(worker, block.width);
    auto both = doutputs_->matrix().middleCols(column, block.width);
    std::copy_n(both.data(), both.size(), room.data());
    for (Index c = 0; c < block.width; ++c)
      mixture_->take(block.expert, column + c, room.col(c).data(), both.col(c).data());
    return room;
  }
  /// Those of some of an expert's columns.
  [[nodiscard]] auto derivatives(const DispatchPlan& plan, const Block& block) {
    return doutputs_->matrix().middleCols(plan.first_column(block.expert) + block.first,
                                          block.width);
  }

 private:
  const Columns<S>* outputs_;
  Columns<S>* doutputs_;
  const MixtureDerivatives<S>* mixture_ = nullptr;
  Rooms<S>* rooms_ = nullptr;
};

}  // namespace comet::detail
