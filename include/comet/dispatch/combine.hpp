// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/dispatch/columns.hpp>
#include <comet/dispatch/plan.hpp>
#include <comet/kernels/dots.hpp>

/// \file
/// \brief From the outputs of experts to the mixtures, and the gradients' way back.

namespace comet {

namespace detail {

/// What both directions ask of their arguments; y is named as the caller names it.
template <class S, class Y>
void check_mixture(std::string_view where, const Columns<S>& outputs, const DispatchPlan& plan,
                   std::span<const Routing<S>> routings, std::string_view name, const Y& y) {
  const auto columns = outputs.matrix();
  check_equal(where, "outputs.cols()", columns.cols(), "plan.num_columns()", plan.num_columns());
  check_equal(where, "routings.size()", Index(routings.size()), "plan.num_tasks()",
              plan.num_tasks());
  for (std::size_t t = 0; t < routings.size(); ++t) {
    check_equal(where, "routing.num_samples()", routings[t].num_samples(), "plan.num_samples()",
                plan.num_samples());
    check_equal(where, "routing.num_entries()", routings[t].num_entries(),
                "that of the plan's routing", Index(plan.entry_columns(Index(t)).size()));
  }
  const std::string text(name);
  check_equal(where, text + ".rows()", y.rows(), "outputs.rows()", columns.rows());
  check_equal(where, text + ".cols()", y.cols(), "plan.num_tasks() * plan.num_samples()",
              plan.num_tasks() * plan.num_samples());
}

}  // namespace detail

/// \brief Stage 4: y_t(:, b) = sum_i g_t(i, b) f_i(x(:, b)), in ascending order of the expert.
///
/// \param outputs   m x columns of the plan
/// \param routings  one per task, those that the plan was built from
/// \param y         m x (T B), overwritten: task t has columns t B .. (t+1) B - 1
/// \throws std::invalid_argument if a shape does not fit
template <class S>
void combine(const Columns<S>& outputs, const DispatchPlan& plan,
             std::span<const Routing<S>> routings, MatrixView<std::type_identity_t<S>> y,
             ThreadPool* pool = nullptr) {
  detail::check_mixture<S>("combine", outputs, plan, routings, "y", y);
  const auto all = outputs.matrix();
  const Index num_samples = plan.num_samples();
  pool = detail::worth_threads(pool, double(all.size()) * 8);
  detail::for_each_sample(pool, Index(routings.size()) * num_samples, [&](Index column) {
    const Index t = column / num_samples, b = column - t * num_samples;
    const Routing<S>& routing = routings[std::size_t(t)];
    const auto entry_columns = plan.entry_columns(t);
    constexpr Index most = 8;
    S weights[most];
    const S* vectors[most];
    Index count = 0;
    auto sum = y.col(column);
    sum.setZero();
    const auto flush = [&] {
      detail::add_scaled(sum.data(), all.rows(), weights, vectors, count);
      count = 0;
    };
    for (auto i = routing.offsets()[std::size_t(b)]; i < routing.offsets()[std::size_t(b) + 1];
         ++i) {
      const std::int32_t from = entry_columns[std::size_t(i)];
      if (from == DispatchPlan::no_column) continue;
      weights[count] = routing.weights()[std::size_t(i)];
      vectors[count] = all.col(from).data();
      if (++count == most) flush();
    }
    flush();
  });
}
/// \brief The same for one task.
template <class S>
void combine(const Columns<S>& outputs, const DispatchPlan& plan, const Routing<S>& routing,
             MatrixView<std::type_identity_t<S>> y, ThreadPool* pool = nullptr) {
  combine<S>(outputs, plan, std::span(&routing, 1), std::move(y), pool);
}

/// \brief Stage 4, backwards: derivatives by the outputs of experts and by the weights.
///
///     doutput(:, c) = sum_t g_t(i, b) dy_t(:, b),   dg_t(i, b) = dy_t(:, b) . output(:, c)
///
/// for the column c of every pair (expert i, sample b).
/// \param dy        m x (T B)
/// \param doutputs  m x columns, overwritten; 0 for padding
/// \param dweights  per task one number per entry of the routing, overwritten; 0 where the weight
///                  is 0: such a pair was not evaluated
/// \throws std::invalid_argument if a shape does not fit
template <class S>
void spread(const ConstMatrixView<std::type_identity_t<S>>& dy, const DispatchPlan& plan,
            std::span<const Routing<S>> routings, const Columns<S>& outputs, Columns<S>& doutputs,
            std::span<AlignedVector<S>> dweights, ThreadPool* pool = nullptr) {
  detail::check_mixture<S>("spread", outputs, plan, routings, "dy", dy);
  detail::check_equal("spread", "dweights.size()", Index(dweights.size()), "routings.size()",
                      Index(routings.size()));
  const auto all = outputs.matrix();
  auto by_output = doutputs.shape(all.rows(), plan);
  const Index num_samples = plan.num_samples();
  for (std::size_t t = 0; t < routings.size(); ++t)
    dweights[t].resize(std::size_t(routings[t].num_entries()));
  pool = detail::worth_threads(pool, double(all.size()) * 16);
  detail::for_each_sample(pool, num_samples, [&](Index b) {
    for (std::size_t t = 0; t < routings.size(); ++t) {
      const auto entry_columns = plan.entry_columns(Index(t));
      const auto dy_sample = dy.col(Index(t) * num_samples + b);
      const auto weights = routings[t].weights();
      for (auto i = std::size_t(routings[t].offsets()[std::size_t(b)]);
           i < std::size_t(routings[t].offsets()[std::size_t(b) + 1]); ++i) {
        const std::int32_t column = entry_columns[i];
        dweights[t][i] = S(0);
        if (column == DispatchPlan::no_column) continue;
        auto doutput = by_output.col(column);
        if (plan.is_first_task(Index(t), b, column)) {
          doutput = weights[i] * dy_sample;
        } else {
          doutput += weights[i] * dy_sample;
        }
        dweights[t][i] = dy_sample.dot(all.col(column));
      }
    }
  });
  if (plan.num_pairs() == plan.num_columns()) return;
  const auto samples = plan.column_samples();
  for (std::size_t c = 0; c < samples.size(); ++c)
    if (samples[c] < 0) by_output.col(Index(c)).setZero();
}
/// \brief The same for one task.
template <class S>
void spread(const ConstMatrixView<std::type_identity_t<S>>& dy, const DispatchPlan& plan,
            const Routing<S>& routing, const Columns<S>& outputs, Columns<S>& doutputs,
            AlignedVector<S>& dweights, ThreadPool* pool = nullptr) {
  spread<S>(dy, plan, std::span(&routing, 1), outputs, doutputs, std::span(&dweights, 1), pool);
}

}  // namespace comet
