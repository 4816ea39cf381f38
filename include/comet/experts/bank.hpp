// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/dispatch/columns.hpp>
#include <comet/dispatch/plan.hpp>
#include <comet/experts/detail/blocks.hpp>
#include <comet/experts/detail/caches.hpp>
#include <comet/experts/detail/output_derivatives.hpp>
#include <comet/experts/detail/padding.hpp>
#include <comet/experts/detail/rooms.hpp>
#include <comet/experts/detail/sizes.hpp>

namespace comet {

/// \brief Stage 3: the experts that live here, run block by block on the columns of a plan.
///
/// A bank may hold all experts of a plan or some of them, `first` .. `first + size() - 1`; the
/// columns of the others are left alone. Two banks thus make a mixture of two kinds of experts, and
/// a bank per machine one that is spread.
///
/// Experts of a bank share input_dim() and output_dim() and may differ in everything else. Every
/// sum over columns runs in their order, so results are the same bits for any number of threads.
///
/// \par Cost     cost() multiply-adds per column, for most experts twice that backward; scratch:
///               cache_dim() scalars per column in training, per column of a thread's block in
///               predict()
/// \par Threads  const; one Pass per calling thread, whose pool spreads a call
/// \tparam E     a PredictingExpert; to train, a TrainableExpert
template <class E>
class ExpertBank {
  static_assert(PredictingExpert<E>,
                "comet::ExpertBank: the argument is not an expert (concept PredictingExpert): it "
                "needs Scalar, input_dim(), output_dim(), cache_dim(), cost() and predict; to be "
                "trained (concept TrainableExpert) also forward, visit and a backward pass; see "
                "core/concepts.hpp");

 public:
  using Scalar = typename E::Scalar;  ///< float or double.
  using S = Scalar;                   ///< Short for Scalar.
  class Workspace;

  /// \param experts  one or more, of the same input_dim() and output_dim()
  /// \param first    number of the first of them in the plans, >= 0
  /// \throws std::invalid_argument if they do not fit together
  explicit ExpertBank(std::vector<E> experts, Index first = 0)
      : experts_(std::move(experts)), first_(first) {
    constexpr const char* where = "ExpertBank";
    detail::check_at_least(where, "experts.size()", size(), 1);
    detail::check_at_least(where, "first", first, 0);
    for (const E& expert : experts_) detail::check_sizes(where, expert, experts_.front());
  }

  /// Number of experts here.
  [[nodiscard]] Index size() const noexcept { return Index(experts_.size()); }
  /// Number of the first of them in a plan.
  [[nodiscard]] Index first() const noexcept { return first_; }
  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return experts_.front().input_dim(); }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept { return experts_.front().output_dim(); }
  /// What a plan has to round an expert's columns up to.
  [[nodiscard]] Index column_multiple() const { return detail::column_multiple(experts_.front()); }
  /// The experts.
  [[nodiscard]] const std::vector<E>& experts() const noexcept { return experts_; }
  /// The experts: each may be replaced by one of the same sizes.
  [[nodiscard]] std::vector<E>& experts() noexcept { return experts_; }

  /// \brief outputs = what the experts make of their columns, without dropout.
  /// \param plan     built with a column_multiple that column_multiple() divides
  /// \param columns  d x columns, as gather() fills them or left in the samples
  /// \param outputs  m x columns: those of experts here are overwritten, others left alone if it
  ///                 has the plan's shape already
  /// \throws std::invalid_argument if a size does not fit, or the outputs are the columns
  void predict(const DispatchPlan& plan, const Columns<S>& columns, Columns<S>& outputs,
               Pass<ExpertBank>& pass) const {
    run("ExpertBank::predict", false, plan, columns, outputs, pass,
        [](const E& expert, const Task&, const auto& x, auto&& y, auto&& cache) {
          expert.predict(x, y, cache);
        });
  }

  /// \brief predict() in training: draws from `key`, leaves in the pass what backward() needs.
  /// \param first_sample  number of the plan's sample 0, where it has a piece of a batch
  void forward(const DispatchPlan& plan, const Columns<S>& columns, Columns<S>& outputs,
               RandomKey key, Pass<ExpertBank>& pass, Index first_sample = 0) const {
    static_assert(TrainableExpert<E>,
                  "comet::ExpertBank::forward: this expert cannot be trained (concept "
                  "TrainableExpert): it only predicts, as a frozen one does");
    run("ExpertBank::forward", true, plan, columns, outputs, pass,
        [&](const E& expert, const Task& task, const auto& x, auto&& y, auto&& cache) {
          expert.forward(x, y, cache,
                         TrainingTile{key.fold(task.expert), task.samples, first_sample});
        });
    pass.workspace.filled_by_.set(identity_);
  }

  /// \brief Adds the gradients of sum(doutputs . outputs) to the pass's and overwrites dcolumns.
  /// \param plan, columns, outputs  as in forward()
  /// \param doutputs  m x columns; what is left in the experts' columns is theirs
  /// \param dcolumns  d x columns: those of experts here are overwritten, others left alone if it
  ///                  has the plan's shape already
  /// \throws std::invalid_argument unless the pass holds a forward() of this bank and of such a
  ///         plan: one backward() uses it up; or if two of the columns are the same object
  void backward(const DispatchPlan& plan, const Columns<S>& columns, const Columns<S>& outputs,
                Columns<S>& doutputs, Columns<S>& dcolumns, Pass<ExpertBank>& pass) const {
    constexpr const char* where = "ExpertBank::backward";
    detail::check_apart(where, "dcolumns", dcolumns, "columns", columns);
    detail::check_apart(where, "dcolumns", dcolumns, "outputs", outputs);
    detail::check_apart(where, "dcolumns", dcolumns, "doutputs", doutputs);
    dcolumns.fit(input_dim(), plan);
    backward(plan, columns, OutputDerivatives(outputs, doutputs), InputDerivatives(dcolumns), pass);
  }
  /// \brief The same, with the derivatives by the columns added to those by the samples, as by
  /// gather_back() and to the same bits: they take no memory of their own.
  /// \param dx  d x B, added to; no_gradient saves their cost
  void backward(const DispatchPlan& plan, const Columns<S>& columns, const Columns<S>& outputs,
                Columns<S>& doutputs, MatrixView<S> dx, Pass<ExpertBank>& pass) const {
    backward(plan, columns, OutputDerivatives(outputs, doutputs),
             InputDerivatives(dx, pass.workspace.derivatives_), pass);
  }
  /// \brief The same without the gradient by the columns, which saves its cost.
  void backward(const DispatchPlan& plan, const Columns<S>& columns, const Columns<S>& outputs,
                Columns<S>& doutputs, Pass<ExpertBank>& pass) const {
    backward(plan, columns, outputs, doutputs, no_gradient, pass);
  }
  /// \brief The same, with the derivatives by the outputs made where they are wanted, as by
  /// spread() and to the same bits: they take no memory of their own but that of the outputs.
  /// \param outputs  as in forward(); what is left in the experts' columns is theirs
  /// \param mixture  derivatives by what was combined of such a plan
  void backward(const DispatchPlan& plan, const Columns<S>& columns, Columns<S>& outputs,
                const MixtureDerivatives<S>& mixture, MatrixView<S> dx,
                Pass<ExpertBank>& pass) const {
    backward(plan, columns, OutputDerivatives(outputs, mixture, pass.workspace.outputs_),
             InputDerivatives(dx, pass.workspace.derivatives_), pass);
  }

  /// Calls f("experts", experts).
  template <class F>
  void visit(F&& f) const {
    f("experts", experts_);
  }

 private:
  /// Columns per block: wide enough to read the weights seldom, narrow enough to share out. Any
  /// multiple of column_multiple() gives the same bits.
  static constexpr Index block_columns = 128;

  /// A block of columns of one expert.
  struct Task {
    Index expert;                       // as the plan counts them
    std::span<const SampleId> samples;  // of the columns that are no padding
  };

  [[nodiscard]] ThreadPool* threads_for(const DispatchPlan& plan, ThreadPool* pool) const {
    return detail::worth_threads(pool, detail::total_cost(experts_, plan, first_));
  }

  void check_plan(const char* where, const DispatchPlan& plan) const;
  template <class Call>
  void run(const char* where, bool trains, const DispatchPlan& plan, const Columns<S>& columns,
           Columns<S>& outputs, Pass<ExpertBank>& pass, Call call) const;
  using InputDerivatives = detail::InputDerivatives<S>;
  using OutputDerivatives = detail::OutputDerivatives<S>;
  void backward(const DispatchPlan& plan, const Columns<S>& columns, OutputDerivatives from,
                InputDerivatives to, Pass<ExpertBank>& pass) const;
  void backward_blocks(const DispatchPlan& plan, const Columns<S>& columns, OutputDerivatives& from,
                       InputDerivatives& to, Pass<ExpertBank>& pass) const;
  void accumulate(const DispatchPlan& plan, const Columns<S>& columns, OutputDerivatives& from,
                  InputDerivatives& to, Pass<ExpertBank>& pass) const;

  std::vector<E> experts_;
  Index first_;
  detail::Identity identity_;
};

/// \brief Scratch of an ExpertBank.
template <class E>
class ExpertBank<E>::Workspace {
  friend class ExpertBank;

  void start(const ExpertBank& bank, const DispatchPlan& plan) {
    filled_by_.clear();
    first_columns_.clear();
    for (Index e = 0; e <= bank.size(); ++e)
      first_columns_.push_back(plan.first_column(bank.first_ + e));
    detail::cut_blocks(plan, bank.first_, bank.size(), block_columns, bank.column_multiple(),
                       blocks_);
  }

  /// backward() follows forward(): only once, only of the bank that filled it, only for such a
  /// plan.
  void check_filled(const ExpertBank& bank, const DispatchPlan& plan) const {
    constexpr const char* where = "ExpertBank::backward";
    filled_by_.check(where, bank.identity_, "bank");
    bank.check_plan(where, plan);
    for (Index e = 0; e <= bank.size(); ++e)
      if (plan.first_column(bank.first_ + e) != first_columns_[std::size_t(e)])
        detail::raise(where, "the pass holds a forward() of another plan");
    caches_.check(where, bank.experts_, plan, bank.first_);
  }

  std::vector<detail::Block> blocks_;
  std::vector<Index> first_columns_;  // per expert and one more: the plan's
  detail::Caches<S> caches_;
  detail::Rooms<S> inputs_, outputs_;       // of a worker's task
  detail::DerivativeRooms<S> derivatives_;  // by them
  std::vector<GradientView<S>> gradients_;  // per expert
  std::vector<detail::Slice> slices_;
  detail::FilledBy filled_by_;  // the forward() that backward() may follow
};

/// The experts here are among those of the plan, and have as many columns as they want.
template <class E>
void ExpertBank<E>::check_plan(const char* where, const DispatchPlan& plan) const {
  detail::check_at_least(where, "plan.num_experts()", plan.num_experts(), first_ + size());
  detail::check_padding(where, plan, first_, size(), column_multiple());
  // Those without columns are not looked at, as in Caches::share().
  for (Index e = 0; e < size(); ++e)
    if (plan.padded_count(first_ + e) > 0)
      detail::check_sizes(where, experts_[std::size_t(e)], experts_.front());
}

template <class E>
template <class Call>
void ExpertBank<E>::run(const char* where, bool trains, const DispatchPlan& plan,
                        const Columns<S>& columns, Columns<S>& outputs, Pass<ExpertBank>& pass,
                        Call call) const {
  check_plan(where, plan);
  detail::check_columns(where, "columns", columns, "input_dim", input_dim(), plan);
  detail::check_apart(where, "outputs", outputs, "columns", columns);
  outputs.fit(output_dim(), plan);
  auto& ws = pass.workspace;
  ThreadPool* pool = threads_for(plan, pass.pool);
  const Index workers = detail::num_workers(pool);
  ws.start(*this, plan);
  if (trains) {
    ws.caches_.keep_all(experts_, plan, first_);
  } else {
    ws.caches_.share(experts_, plan, first_, std::min(block_columns, plan.num_columns()), workers);
  }
  if (!columns.is_gathered())
    ws.inputs_.shape(input_dim(), detail::widest(ws.blocks_), workers, block_columns);
  auto all = outputs.matrix();
  parallel_for(pool, Index(ws.blocks_.size()), [&](Index i, Index worker) {
    const detail::Block& block = ws.blocks_[std::size_t(i)];
    const Index number = block.expert - first_;
    const E& expert = experts_[std::size_t(number)];
    const Task task{block.expert, plan.samples(block.expert, block.first, block.width)};
    call(expert, task,
         ConstMatrixView<S>(
             columns.of(plan, block.expert, block.first, block.width, ws.inputs_.data(worker))),
         all.middleCols(plan.first_column(block.expert) + block.first, block.width),
         trains ? ws.caches_.of_columns(expert, number, block.first, block.width)
                : ws.caches_.of_worker(expert, worker, block.width));
  });
}

template <class E>
void ExpertBank<E>::backward(const DispatchPlan& plan, const Columns<S>& columns,
                             OutputDerivatives from, InputDerivatives to,
                             Pass<ExpertBank>& pass) const {
  constexpr const char* where = "ExpertBank::backward";
  auto& ws = pass.workspace;
  ws.check_filled(*this, plan);
  detail::check_columns(where, "columns", columns, "input_dim", input_dim(), plan);
  from.check(where, output_dim(), plan, columns);
  to.check(where, input_dim(), plan);
  ws.filled_by_.clear();
  ws.gradients_.clear();
  GradientView<S> rest = pass.gradients(*this);
  for (const E& expert : experts_) ws.gradients_.push_back(rest.next(expert));
  if constexpr (SplitBackwardExpert<E>) backward_blocks(plan, columns, from, to, pass);
  accumulate(plan, columns, from, to, pass);
}

/// Every block by itself: back through the expert to its input.
template <class E>
void ExpertBank<E>::backward_blocks(const DispatchPlan& plan, const Columns<S>& columns,
                                    OutputDerivatives& from, InputDerivatives& to,
                                    Pass<ExpertBank>& pass) const {
  auto& ws = pass.workspace;
  ThreadPool* pool = threads_for(plan, pass.pool);
  const Index widest = detail::widest(ws.blocks_), workers = detail::num_workers(pool);
  from.start(widest, workers, block_columns);
  to.start(input_dim(), widest, Index(ws.blocks_.size()), workers, block_columns);
  if (!columns.is_gathered()) ws.inputs_.shape(input_dim(), widest, workers, block_columns);
  detail::sort_by_expert(ws.blocks_);
  parallel_for(pool, Index(ws.blocks_.size()), [&](Index i, Index worker) {
    const detail::Block& block = ws.blocks_[std::size_t(i)];
    const Index number = block.expert - first_;
    const E& expert = experts_[std::size_t(number)];
    const ConstMatrixView<S> x =
        detail::reads_input_back<E> || columns.is_gathered()
            ? ConstMatrixView<S>(
                  columns.of(plan, block.expert, block.first, block.width, ws.inputs_.data(worker)))
            : ConstMatrixView<S>(ws.inputs_.of(worker, block.width));
    const ConstMatrixView<S> y = from.outputs(plan, block, worker);
    to.take(plan, block, i, worker, [&](MatrixView<S> dx) {
      expert.backward_columns(x, y, ws.caches_.of_columns(expert, number, block.first, block.width),
                              from.derivatives(plan, block), dx);
    });
  });
}

/// The parameters: per expert over all of its columns, in their order.
template <class E>
void ExpertBank<E>::accumulate(const DispatchPlan& plan, const Columns<S>& columns,
                               OutputDerivatives& from, [[maybe_unused]] InputDerivatives& to,
                               Pass<ExpertBank>& pass) const {
  auto& ws = pass.workspace;
  ThreadPool* pool = threads_for(plan, pass.pool);
  const Index workers = detail::num_workers(pool);
  const Index most = detail::cut_slices(experts_, plan, first_, workers, ws.slices_);
  const Index ahead = detail::columns_ahead(plan, most, column_multiple());
  if (!columns.is_gathered()) ws.inputs_.shape(input_dim(), most, workers, ahead);
  if constexpr (!SplitBackwardExpert<E>) {
    from.start(most, workers, ahead);
    to.start(input_dim(), most, Index(ws.slices_.size()), workers, ahead);
  }
  parallel_for(pool, Index(ws.slices_.size()), [&](Index i, Index worker) {
    const auto [number, slice] = ws.slices_[std::size_t(i)];
    const E& expert = experts_[std::size_t(number)];
    const detail::Block all{std::int32_t(first_ + number), 0, plan.count(first_ + number)};
    const ConstMatrixView<S> x(
        columns.of(plan, all.expert, 0, all.width, ws.inputs_.data(worker),
                   !columns.is_gathered() && ws.inputs_.give_to(worker, number)));
    auto cache = ws.caches_.of_columns(expert, number, 0, all.width);
    const GradientView<S> gradients = ws.gradients_[std::size_t(number)];
    if constexpr (SplitBackwardExpert<E>) {
      expert.accumulate_gradients(x, cache, from.derivatives(plan, all), slice, gradients);
    } else {
      const ConstMatrixView<S> y = from.outputs(plan, all, worker);
      to.take(plan, all, i, worker, [&](MatrixView<S> dx) {
        expert.backward(x, y, cache, from.derivatives(plan, all), dx, gradients);
      });
    }
  });
}

}  // namespace comet
