// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/identity.hpp>
#include <comet/core/index_range.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/dispatch/columns.hpp>
#include <comet/dispatch/plan.hpp>
#include <comet/distributed/collectives.hpp>
#include <comet/distributed/column_transport.hpp>
#include <comet/distributed/communicator.hpp>
#include <comet/distributed/detail/bank_sizes.hpp>
#include <comet/experts/bank.hpp>

namespace comet {

/// \brief Where the samples of a rank stand in the batch of all ranks.
struct BatchPlace {
  Index first = 0;        ///< Number of the first of them.
  Index num_samples = 0;  ///< Of all ranks.
};

/// \brief The batch is what the ranks have, one behind the other, rank 0 first.
/// \param num_samples  of this rank
template <Communicator C>
[[nodiscard]] BatchPlace place_in_batch(C& world, Index num_samples) {
  BatchPlace place;
  const auto sizes = all_gather(world, num_samples);
  for (std::size_t r = 0; r < sizes.size(); ++r) {
    if (Index(r) == Index(world.rank())) place.first = place.num_samples;
    place.num_samples += sizes[r];
  }
  return place;
}

/// \brief Stage 3 over ranks: an ExpertBank whose experts live on several of them. Columns of the
/// samples here travel to where their experts live, and what these make of them comes back.
///
/// In a layer of one's own it stands where an ExpertBank would. An expert sees the columns of all
/// ranks in the order of the samples in the whole batch, so outputs and gradients have the bits of
/// one bank that has all experts and the whole batch.
///
/// Every call is one of all ranks, those without samples or experts included.
///
/// \code
///   const BatchPlace place = place_in_batch(world, x.cols());
///   plan.build(routing, bank.size());
///   gather_for_travel(x, plan, columns);
///   bank.forward(plan, columns, outputs, place, key, bank_pass);
///   combine(outputs, plan, routing, y);
/// \endcode
/// \par Cost     that of an ExpertBank on the columns of the experts here; bytes:
///               docs/distributed.md
/// \par Threads  one thread a rank calls; the pass's pool spreads its work
/// \tparam C     a Communicator
/// \tparam E     a TrainableExpert
template <Communicator C, class E>
class DistributedBank {
 public:
  using Scalar = typename E::Scalar;  ///< float or double.
  using S = Scalar;                   ///< Short for Scalar.
  using Expert = E;                   ///< A TrainableExpert.
  class Workspace;

  /// \param world    must stay
  /// \param experts  of this rank, perhaps none: those of rank 0 are the first, and so on
  /// \throws std::invalid_argument on every rank if the experts do not fit together
  /// \throws CommunicationError if another rank does not take part
  DistributedBank(C& world, std::vector<E> experts) : world_(&world), sizes_(world, experts) {
    if (!experts.empty()) bank_.emplace(std::move(experts), share().first);
    for (Index e = share().first; e < share().last; ++e)
      names_.push_back("experts." + std::to_string(e));
  }

  /// Number of experts n of all ranks.
  [[nodiscard]] Index size() const noexcept { return sizes_.shares.back().last; }
  /// Numbers of the experts that live here.
  [[nodiscard]] IndexRange share() const { return sizes_.shares[std::size_t(world_->rank())]; }
  /// Per rank, the numbers of the experts that live there.
  [[nodiscard]] std::span<const IndexRange> shares() const noexcept { return sizes_.shares; }
  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return sizes_.input_dim; }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept { return sizes_.output_dim; }
  /// The ranks.
  [[nodiscard]] C& world() const noexcept { return *world_; }
  /// The experts that live here.
  [[nodiscard]] std::span<const E> experts() const noexcept {
    return bank_ ? std::span<const E>(bank_->experts()) : std::span<const E>();
  }
  /// The experts that live here.
  [[nodiscard]] std::span<E> experts() noexcept {
    return bank_ ? std::span<E>(bank_->experts()) : std::span<E>();
  }
  /// Number of tensors of the experts that live here: all that there are. \see OwnsTensors
  [[nodiscard]] Index num_own_tensors() const { return bank_ ? count_tensors(*bank_) : 0; }

  /// \brief outputs = what the experts make of their columns, without dropout.
  /// \param plan     of the samples here, without padding: built with a column_multiple of 1
  /// \param columns  d x columns, as gather_for_travel() fills them
  /// \param outputs  m x columns, overwritten
  /// \param place    of the samples here
  /// \throws std::invalid_argument if a size does not fit
  /// \throws CommunicationError if another rank does not take part
  void predict(const DispatchPlan& plan, const Columns<S>& columns, Columns<S>& outputs,
               BatchPlace place, Pass<DistributedBank>& pass) const {
    run(plan, columns, outputs, place, pass, [&](Workspace& ws, const DispatchPlan& own) {
      bank_->predict(own, ws.columns_, ws.outputs_, ws.bank_);
    });
  }
  /// \brief predict() in training: with random numbers folded from `key`, the same on every rank,
  /// leaving in the pass what backward() needs.
  void forward(const DispatchPlan& plan, const Columns<S>& columns, Columns<S>& outputs,
               BatchPlace place, RandomKey key, Pass<DistributedBank>& pass) const {
    run(plan, columns, outputs, place, pass, [&](Workspace& ws, const DispatchPlan& own) {
      bank_->forward(own, ws.columns_, ws.outputs_, key, ws.bank_);
    });
    pass.workspace.filled_by_.set(identity_);
  }

  /// \brief Adds the gradients of sum(doutputs . outputs), by the columns of all ranks, to those of
  /// the pass, and writes those by the columns here.
  /// \param plan      as in forward()
  /// \param doutputs  m x columns
  /// \param dcolumns  d x columns, overwritten if they are wanted
  /// \param wanted    whether they are, here: ranks may differ
  /// \throws std::invalid_argument unless the pass holds a forward() of this bank: one backward()
  ///         uses it up
  /// \throws CommunicationError if another rank does not take part
  void backward(const DispatchPlan& plan, const Columns<S>& doutputs, Columns<S>& dcolumns,
                bool wanted, Pass<DistributedBank>& pass) const {
    constexpr const char* where = "DistributedBank::backward";
    auto& ws = pass.workspace;
    ws.filled_by_.check(where, identity_, "bank");
    ws.filled_by_.clear();
    if (bank_) ws.bank_.borrow(pass.gradients(*this), pass);
    const auto wishes = all_gather(*world_, std::uint8_t(wanted));
    bool any = false;
    for (const std::uint8_t each : wishes) any = any || each != 0;
    const DispatchPlan& own = ws.transport_.plan();
    ws.transport_.send(*world_, doutputs, ws.doutputs_);
    if (!any) {
      if (bank_) bank_->backward(own, ws.columns_, ws.outputs_, ws.doutputs_, ws.bank_);
      return;
    }
    ws.dcolumns_.fit(input_dim(), own);
    if (bank_) bank_->backward(own, ws.columns_, ws.outputs_, ws.doutputs_, ws.dcolumns_, ws.bank_);
    ws.transport_.send_back(*world_, ws.dcolumns_, dcolumns, input_dim(), plan, wishes);
  }

  /// \brief outputs = what every expert, wherever it lives, makes of every sample here, without
  /// dropout: for a search over the experts' order. \see MixtureObjective
  /// \param x        d x B    \param outputs  m x (n B), resized: expert by expert
  /// \throws std::invalid_argument if x does not fit
  /// \throws CommunicationError if another rank does not take part
  /// \par Cost  every column travels to all experts
  void evaluate_all(const ConstMatrixView<S>& x, Matrix<S>& outputs) const {
    detail::check_equal("DistributedBank::evaluate_all", "x.rows()", x.rows(), "input_dim()",
                        input_dim());
    std::vector<SampleId> samples;
    for (Index e = 0; e < size(); ++e)
      for (Index b = 0; b < x.cols(); ++b) samples.push_back(SampleId(b));
    DispatchPlan plan;
    plan.build(std::vector<Index>(std::size_t(size()), x.cols()), samples, x.cols(), 1);
    Columns<S> columns, results;
    gather_for_travel(x, plan, columns);
    Pass<DistributedBank> pass;
    predict(plan, columns, results, place_in_batch(*world_, x.cols()), pass);
    outputs = results.matrix();
  }

  /// Calls f(name, expert) for the experts that live here: `experts.5` is the same expert whoever
  /// has it.
  template <class F>
  void visit(F&& f) const {
    for (std::size_t i = 0; i < names_.size(); ++i)
      f(ParameterName(std::string_view(names_[i])), bank_->experts()[i]);
  }

 private:
  template <class Run>
  void run(const DispatchPlan& plan, const Columns<S>& columns, Columns<S>& outputs,
           BatchPlace place, Pass<DistributedBank>& pass, Run run_here) const {
    auto& ws = pass.workspace;
    ws.filled_by_.clear();
    ws.bank_.run_in(pass);
    ws.transport_.agree(*world_, plan, shares(), place.first, place.num_samples,
                        sizes_.column_multiple);
    ws.transport_.send(*world_, columns, ws.columns_);
    const DispatchPlan& own = ws.transport_.plan();
    ws.outputs_.shape(output_dim(), own);
    if (bank_) run_here(ws, own);
    ws.transport_.send_back(*world_, ws.outputs_, outputs, output_dim(), plan);
  }

  C* world_;
  detail::BankSizes sizes_;
  std::optional<ExpertBank<E>> bank_;  // of the experts here, if there are any
  std::vector<std::string> names_;     // theirs
  detail::Identity identity_;
};

/// \brief Scratch of a DistributedBank.
template <Communicator C, class E>
class DistributedBank<C, E>::Workspace {
 public:
  /// The columns that have come here, by expert; samples are numbered as in the whole batch.
  [[nodiscard]] const DispatchPlan& plan() const { return transport_.plan(); }

 private:
  friend class DistributedBank;

  ColumnTransport<S> transport_;
  Pass<ExpertBank<E>> bank_;
  Columns<S> columns_, outputs_, doutputs_, dcolumns_;  // of the experts here
  detail::FilledBy filled_by_;                          // the forward() that backward() may follow
};

template <Communicator C, class E>
DistributedBank(C&, std::vector<E>) -> DistributedBank<C, E>;

}  // namespace comet
