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
/// \brief From the outputs of experts to the mixtures, and the gradients back.

namespace comet {

namespace detail {

/// What both directions ask of mixtures y, named as the caller names them.
template <class S, class Y>
void check_mixture(std::string_view where, const DispatchPlan& plan,
                   std::span<const Routing<S>> routings, std::string_view name, const Y& y) {
  check_equal(where, "routings.size()", Index(routings.size()), "plan.num_tasks()",
              plan.num_tasks());
  for (std::size_t t = 0; t < routings.size(); ++t) {
    check_equal(where, "routing.num_samples()", routings[t].num_samples(), "plan.num_samples()",
                plan.num_samples());
    check_equal(where, "routing.num_entries()", routings[t].num_entries(),
                "that of the plan's routing", Index(plan.entry_columns(Index(t)).size()));
  }
  check_equal(where, std::string(name) + ".cols()", y.cols(),
              "plan.num_tasks() * plan.num_samples()", plan.num_tasks() * plan.num_samples());
}

/// What they ask of the experts' outputs.
template <class S, class Y>
void check_outputs(std::string_view where, const Columns<S>& outputs, const DispatchPlan& plan,
                   std::string_view name, const Y& y) {
  check_has_all(where, "outputs", outputs);
  check_equal(where, "outputs.cols()", outputs.cols(), "plan.num_columns()", plan.num_columns());
  check_equal(where, std::string(name) + ".rows()", y.rows(), "outputs.rows()", outputs.rows());
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
  detail::check_outputs("combine", outputs, plan, "y", y);
  detail::check_mixture<S>("combine", plan, routings, "y", y);
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

/// \brief Stage 4, backwards, a column at a time:
///
///     doutput(:, c) = sum_t g_t(i, b) dy_t(:, b),   dg_t(i, b) = dy_t(:, b) . output(:, c)
///
/// for the column c of a pair (expert i, sample b). What it is made of has to stay.
template <class S>
class MixtureDerivatives {
 public:
  /// \param dy        m x (T B)
  /// \param routings  one per task, those that the plan was built from
  /// \param dweights  per task one number per entry of the routing, set to 0 here: what they are
  ///                  where the weight is 0, for such a pair was not evaluated
  /// \param where     in errors, whoever asks for them
  /// \throws std::invalid_argument if a shape does not fit
  MixtureDerivatives(const ConstMatrixView<std::type_identity_t<S>>& dy, const DispatchPlan& plan,
                     std::span<const Routing<S>> routings, std::span<AlignedVector<S>> dweights,
                     std::string_view where = "MixtureDerivatives")
      : dy_(dy.data(), dy.rows(), dy.cols(), Eigen::OuterStride<>(dy.outerStride())),
        plan_(&plan),
        routings_(routings),
        dweights_(dweights) {
    detail::check_mixture<S>(where, plan, routings, "dy", dy);
    detail::check_equal(where, "dweights.size()", Index(dweights.size()), "routings.size()",
                        Index(routings.size()));
    for (std::size_t t = 0; t < routings.size(); ++t)
      dweights[t].assign(std::size_t(routings[t].num_entries()), S(0));
  }

  /// \brief The same for one task.
  MixtureDerivatives(const ConstMatrixView<std::type_identity_t<S>>& dy, const DispatchPlan& plan,
                     const Routing<S>& routing, AlignedVector<S>& dweights,
                     std::string_view where = "MixtureDerivatives")
      : MixtureDerivatives(dy, plan, std::span(&routing, 1), std::span(&dweights, 1), where) {}
  /// Derivatives that are gone when take() reads them.
  template <detail::Fleeting DY, class... Rest>
  MixtureDerivatives(DY&& dy, const DispatchPlan& plan, Rest&&... rest)
      : MixtureDerivatives(ConstMatrixView<S>(dy), plan, std::forward<Rest>(rest)...) {
    static_assert(!detail::Fleeting<DY>,
                  "comet::MixtureDerivatives: dy is an expression or a matrix without a name, and "
                  "gone when take() reads it");
  }

  /// Numbers of an output: m.
  [[nodiscard]] Index rows() const { return dy_.rows(); }
  /// The plan.
  [[nodiscard]] const DispatchPlan& plan() const { return *plan_; }

  /// \brief Writes the derivatives by the output of a column, 0 for padding, and by its weights.
  /// Threads may take different columns.
  /// \param expert            that of the column
  /// \param output, doutput   m numbers each
  void take(Index expert, Index column, const S* output, S* doutput) const {
    Eigen::Map<Vector<S>> derivative(doutput, rows());
    const SampleId sample = plan_->column_samples()[std::size_t(column)];
    bool found = false;
    for (std::size_t t = 0; sample >= 0 && t < routings_.size(); ++t) {
      const auto experts = routings_[t].experts(sample);
      const auto at = std::lower_bound(experts.begin(), experts.end(), ExpertId(expert));
      if (at == experts.end() || *at != expert) continue;
      const auto entry =
          std::size_t(routings_[t].offsets()[std::size_t(sample)] + (at - experts.begin()));
      const S weight = routings_[t].weights()[entry];
      if (weight == S(0)) continue;
      const auto dy = dy_.col(Index(t) * plan_->num_samples() + sample);
      if (found) {
        derivative += weight * dy;
      } else {
        derivative = weight * dy;
      }
      found = true;
      dweights_[t][entry] = dy.dot(Eigen::Map<const Vector<S>>(output, rows()));
    }
    if (!found) derivative.setZero();
  }

 private:
  Eigen::Map<const Matrix<S>, 0, Eigen::OuterStride<>> dy_;
  const DispatchPlan* plan_;
  std::span<const Routing<S>> routings_;
  std::span<AlignedVector<S>> dweights_;
};

/// \brief Stage 4, backwards, of all columns: derivatives by the outputs of experts and by the
/// weights, as MixtureDerivatives tells them.
/// \param dy        m x (T B)
/// \param doutputs  m x columns, overwritten; 0 for padding
/// \param dweights  per task one number per entry of the routing, overwritten; 0 where the weight
///                  is 0: such a pair was not evaluated
/// \throws std::invalid_argument if a shape does not fit, or doutputs are the outputs
template <class S>
void spread(const ConstMatrixView<std::type_identity_t<S>>& dy, const DispatchPlan& plan,
            std::span<const Routing<S>> routings, const Columns<S>& outputs, Columns<S>& doutputs,
            std::span<AlignedVector<S>> dweights, ThreadPool* pool = nullptr) {
  detail::check_outputs("spread", outputs, plan, "dy", dy);
  detail::check_apart("spread", "doutputs", doutputs, "outputs", outputs);
  const MixtureDerivatives<S> mixture(dy, plan, routings, dweights, "spread");
  const auto all = outputs.matrix();
  auto by_output = doutputs.shape(all.rows(), plan);
  pool = detail::worth_threads(pool, double(all.size()) * 16);
  detail::for_each_sample(pool, all.cols(), [&](Index column) {
    mixture.take(plan.expert(column), column, all.col(column).data(), by_output.col(column).data());
  });
}
/// \brief The same for one task.
template <class S>
void spread(const ConstMatrixView<std::type_identity_t<S>>& dy, const DispatchPlan& plan,
            const Routing<S>& routing, const Columns<S>& outputs, Columns<S>& doutputs,
            AlignedVector<S>& dweights, ThreadPool* pool = nullptr) {
  spread<S>(dy, plan, std::span(&routing, 1), outputs, doutputs, std::span(&dweights, 1), pool);
}

}  // namespace comet
