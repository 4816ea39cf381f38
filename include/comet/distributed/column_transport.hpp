// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/index_range.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/dispatch/columns.hpp>
#include <comet/dispatch/plan.hpp>
#include <comet/distributed/collectives.hpp>
#include <comet/distributed/communicator.hpp>

namespace comet {

/// \brief gather() for columns that will leave: nothing is left to be read where it stands.
/// \param x        d x B
/// \param columns  d x columns of the plan, overwritten
/// \throws std::invalid_argument unless the plan is of so many samples
template <class S>
void gather_for_travel(const ConstMatrixView<std::type_identity_t<S>>& x, const DispatchPlan& plan,
                       Columns<S>& columns, ThreadPool* pool = nullptr) {
  gather(x, plan, columns, pool);
  for (Index e = 0; e < plan.num_experts(); ++e)
    if (plan.serves_all(e))
      columns.matrix().middleCols(plan.first_column(e), plan.num_samples()) = x;
  columns.read_no_samples();
}

/// \brief The stage between gathering and the experts: columns travel to the ranks where their
/// experts live, and results travel back.
///
/// Ranks hold pieces of the batch that follow each other, rank 0 the first one. With the columns
/// travel the samples' numbers in the whole batch, and where they arrive an expert's columns stand
/// in the order of these: as they would in one process, so that every sum over them has its bits.
///
/// Every call is one of all ranks, those without samples, experts or pairs included.
///
/// \code
///   transport.agree(world, plan, shares, first_sample, num_samples, column_multiple);
///   transport.send(world, columns, arrived);              // d x columns of transport.plan()
///   bank.forward(transport.plan(), arrived, made, key, bank_pass);
///   transport.send_back(world, made, outputs, m, plan);   // m x columns of plan
/// \endcode
/// \par Cost  bytes that leave a rank: 8 for each expert that lives elsewhere, 4 for each pair of
///            such an expert, and the columns; see docs/distributed.md
/// \tparam S  float or double
template <class S>
class ColumnTransport {
 public:
  /// \brief Tells every owner how many columns will come and of which samples, and makes the plan
  /// of those that come here.
  /// \param plan             of the samples here, without padding (column_multiple 1)
  /// \param shares           per rank, the experts there: 0..n-1 in the order of ranks
  /// \param first_sample     number of the first sample here in the whole batch
  /// \param num_samples      of the whole batch
  /// \param column_multiple  of the experts, see ExpertBank::column_multiple()
  /// \throws std::invalid_argument if the plan is padded, or of other experts
  template <Communicator C>
  void agree(C& world, const DispatchPlan& plan, std::span<const IndexRange> shares,
             Index first_sample, Index num_samples, Index column_multiple) {
    constexpr const char* where = "ColumnTransport::agree";
    detail::check_equal(where, "plan.num_columns()", plan.num_columns(), "plan.num_pairs()",
                        plan.num_pairs());
    detail::check_equal(where, "shares.size()", Index(shares.size()), "world.size()", world.size());
    detail::check_equal(where, "plan.num_experts()", plan.num_experts(), "shares.back().last",
                        shares.back().last);
    detail::check_at_most(where, "num_samples", num_samples, "the largest SampleId",
                          std::numeric_limits<SampleId>::max());
    exchange_counts(world, plan, shares);
    exchange_samples(world, plan, first_sample);
    make_plan(shares[std::size_t(world.rank())], num_samples, column_multiple);
  }

  /// The columns that have come here, by expert: of all experts, those that live elsewhere have
  /// none. Its samples are numbered as in the whole batch.
  [[nodiscard]] const DispatchPlan& plan() const noexcept { return plan_; }

  /// \brief arrived = the columns of the experts here, from all ranks; padding is 0.
  /// \param columns  rows x columns of the plan given to agree(), all in their matrix
  /// \param arrived  rows x columns of plan(), overwritten
  /// \throws std::invalid_argument if columns are read from samples: see gather_for_travel
  template <Communicator C>
  void send(C& world, const Columns<S>& columns, Columns<S>& arrived) {
    detail::check_has_all("ColumnTransport::send", "columns", columns);
    const auto from = columns.matrix();
    const Index rows = from.rows();
    auto wire = wire_.shape(rows, num_incoming());
    world.all_to_all(bytes(from), outgoing_, writable_bytes(wire), incoming_,
                     rows * Index(sizeof(S)));
    auto to = arrived.shape(rows, plan_);
    for (const Run& run : runs_)
      std::copy_n(wire.data() + run.wire * rows, run.count * rows, to.data() + run.column * rows);
    const auto samples = plan_.column_samples();
    for (std::size_t c = 0; c < samples.size(); ++c)
      if (samples[c] < 0) to.col(Index(c)).setZero();
  }

  /// \brief returned = the columns of the samples here, from the ranks that own their experts.
  /// \param columns   rows x columns of plan()
  /// \param returned  rows x columns of the plan given to agree(), overwritten
  /// \param rows      of both, which a rank without experts cannot know from its columns
  /// \param wanted    per rank, whether it wants them; the same on every rank, and empty for all
  /// \param local     the plan given to agree()
  template <Communicator C>
  void send_back(C& world, const Columns<S>& columns, Columns<S>& returned, Index rows,
                 const DispatchPlan& local, std::span<const std::uint8_t> wanted = {}) {
    const auto from = columns.matrix();
    auto to = returned.shape(rows, local);
    auto wire = wire_.shape(rows, num_incoming());
    out_.assign(incoming_.begin(), incoming_.end());
    in_.assign(outgoing_.begin(), outgoing_.end());
    for (std::size_t r = 0; r < wanted.size(); ++r) {
      if (wanted[r] == 0) out_[r] = 0;
      if (wanted[std::size_t(world.rank())] == 0) in_[r] = 0;
    }
    Index sent = 0;
    for (const Run& run : runs_) {
      if (out_[std::size_t(run.rank)] == 0) continue;
      std::copy_n(from.data() + run.column * rows, run.count * rows, wire.data() + sent * rows);
      sent += run.count;
    }
    Index received = 0;
    for (const Index count : in_) received += count;
    world.all_to_all(bytes(wire.leftCols(sent)), out_, writable_bytes(to.leftCols(received)), in_,
                     rows * Index(sizeof(S)));
  }

 private:
  /// Columns of one expert from one rank: neighbours on the wire, and in the plan.
  struct Run {
    Index rank;
    Index wire;    // their first place on the wire
    Index column;  // and in the plan
    Index count;
  };

  template <class Values>
  static std::span<const std::byte> bytes(const Values& values) {
    return std::as_bytes(std::span(values.data(), std::size_t(values.size())));
  }
  template <class Values>
  static std::span<std::byte> writable_bytes(Values&& values) {
    return std::as_writable_bytes(std::span(values.data(), std::size_t(values.size())));
  }
  [[nodiscard]] Index num_incoming() const {
    Index sum = 0;
    for (const Index count : incoming_) sum += count;
    return sum;
  }

  template <Communicator C>
  void exchange_counts(C& world, const DispatchPlan& plan, std::span<const IndexRange> shares) {
    const auto ranks = std::size_t(world.size());
    const Index here = shares[std::size_t(world.rank())].size();
    counts_.clear();
    out_.clear();
    in_.assign(ranks, here);
    outgoing_.assign(ranks, 0);
    incoming_.assign(ranks, 0);
    for (std::size_t r = 0; r < ranks; ++r) {
      out_.push_back(shares[r].size());
      for (Index e = shares[r].first; e < shares[r].last; ++e) {
        counts_.push_back(plan.count(e));
        outgoing_[r] += plan.count(e);
      }
    }
    arriving_.resize(ranks * std::size_t(here));
    all_to_all(world, counts_, out_, std::span(arriving_), in_);
    for (std::size_t r = 0; r < ranks; ++r)
      for (Index i = 0; i < here; ++i)
        incoming_[r] += arriving_[r * std::size_t(here) + std::size_t(i)];
  }

  template <Communicator C>
  void exchange_samples(C& world, const DispatchPlan& plan, Index first_sample) {
    samples_.clear();
    for (const SampleId sample : plan.column_samples())
      samples_.push_back(SampleId(first_sample + sample));
    arrived_samples_.resize(std::size_t(num_incoming()));
    all_to_all(world, samples_, outgoing_, std::span(arrived_samples_), incoming_);
  }

  /// From the order of the wire, by rank, to that of a plan, by expert.
  void make_plan(IndexRange share, Index num_samples, Index column_multiple) {
    const auto ranks = incoming_.size(), here = std::size_t(share.size());
    starts_.resize(ranks * here);  // on the wire, per rank and expert
    Index wire = 0;
    for (std::size_t i = 0; i < starts_.size(); ++i) {
      starts_[i] = wire;
      wire += arriving_[i];
    }
    std::fill(counts_.begin(), counts_.end(), 0);
    samples_.clear();
    for (std::size_t e = 0; e < here; ++e)
      for (std::size_t r = 0; r < ranks; ++r) {
        const std::size_t i = r * here + e;
        counts_[std::size_t(share.first) + e] += arriving_[i];
        const auto begin = arrived_samples_.begin() + starts_[i];
        samples_.insert(samples_.end(), begin, begin + arriving_[i]);
      }
    plan_.build(counts_, samples_, num_samples, column_multiple);
    runs_.clear();
    placed_.assign(here, 0);
    for (std::size_t r = 0; r < ranks; ++r)
      for (std::size_t e = 0; e < here; ++e) {
        const std::size_t i = r * here + e;
        if (arriving_[i] == 0) continue;
        runs_.push_back({Index(r), starts_[i],
                         plan_.first_column(share.first + Index(e)) + placed_[e], arriving_[i]});
        placed_[e] += arriving_[i];
      }
  }

  DispatchPlan plan_;            // of the columns that come here
  std::vector<Index> outgoing_;  // per rank
  std::vector<Index> incoming_;  // per rank
  std::vector<Run> runs_;        // in the order of the wire
  Buffer<S> wire_;               // columns by rank
  // Scratch.
  std::vector<Index> counts_;              // n
  std::vector<Index> arriving_;            // per rank and expert here
  std::vector<Index> starts_;              // likewise
  std::vector<Index> placed_;              // per expert here
  std::vector<Index> out_, in_;            // per rank
  std::vector<SampleId> samples_;          // of pairs
  std::vector<SampleId> arrived_samples_;  // likewise
};

}  // namespace comet
