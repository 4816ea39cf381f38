// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief Gives recorded rows again, whatever the samples: batch by batch what another gate
/// decided.
///
/// Row b of a record is that of the b-th sample, so the batches have to be those of the recording,
/// in the same order; a masked sample has an empty row. The gate stays at a record until it is told
/// that the step is over, by end_of_step() as other gates are told their load, or sent to another
/// by seek(). It has no parameters: in a layer that trains, the experts learn and what the layer
/// knows of the weights' derivatives goes nowhere.
///
/// \code
///   MoeLayer replayed(ReplayGate<float>(recorder.rows(0), n), layer.experts());
///   replayed.forward(x, y, key.fold(step), pass);   // y has the bits of the recorded layer
///   ...
///   end_of_step(replayed.gates()[0], load);         // the next record
/// \endcode
///
/// \par Cost     a copy of the rows
/// \par Threads  route() is const: concurrent calls are safe with distinct routings and passes
/// \tparam S     float or double, the scalar of the weights
/// \see RoutingRecorder, which records rows
template <class S>
class ReplayGate {
 public:
  using Scalar = S;                                   ///< float or double.
  static constexpr std::string_view name = "replay";  ///< What tables call it.
  static constexpr bool depends_on_batch = true;      ///< A row belongs to a place in its batch.

  /// \brief Nothing: the gate needs no scratch.
  class Workspace {};

  /// \param records      a batch each, in the order in which they are to be given
  /// \param num_experts  n >= 1
  /// \throws std::invalid_argument naming the first record that is no routing to n experts
  ReplayGate(std::vector<Routing<S>> records, Index num_experts)
      : num_experts_(num_experts), records_(std::move(records)) {
    constexpr const char* where = "ReplayGate";
    detail::check_at_least(where, "num_experts", num_experts, 1);
    detail::check_at_most(where, "num_experts", num_experts, "the largest ExpertId",
                          std::numeric_limits<ExpertId>::max());
    for (std::size_t i = 0; i < records_.size(); ++i) check(records_[i], i);
  }

  /// Number of experts n.
  [[nodiscard]] Index num_experts() const noexcept { return num_experts_; }
  /// Longest row of all records.
  [[nodiscard]] Index max_active() const noexcept { return max_active_; }
  /// Number of records.
  [[nodiscard]] Index num_records() const noexcept { return Index(records_.size()); }
  /// The record that route() gives; num_records() if there is none left.
  [[nodiscard]] Index position() const noexcept { return Index(position_[0]); }

  /// \brief Goes to a record. \param record  in 0..num_records()
  /// \throws std::invalid_argument if it is not
  void seek(Index record) {
    detail::check_at_least("ReplayGate::seek", "record", record, 0);
    detail::check_at_most("ReplayGate::seek", "record", record, "num_records", num_records());
    position_[0] = record;
  }
  /// \brief Goes to the next record. The load is not looked at.
  /// \throws std::invalid_argument if there is none left
  void end_of_step(std::span<const Index> /*load*/) {
    (void)current("ReplayGate::end_of_step");
    ++position_[0];
  }

  /// \brief Gives the rows of the record at hand. \param routing  resized here
  /// \throws std::invalid_argument if no record is left, or it is of a batch of another size; an
  ///         empty batch needs no record
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<ReplayGate>& /*pass*/) const {
    constexpr const char* where = "ReplayGate::route";
    samples.validate(where);
    routing.clear();
    if (samples.size() == 0) return;
    const Routing<S>& rows = current(where);
    if (samples.size() != rows.num_samples()) [[unlikely]]
      detail::check_equal(where, "x.cols()", samples.size(),
                          "rows of record " + std::to_string(position()), rows.num_samples());
    for (Index b = 0; b < rows.num_samples(); ++b) {
      if (samples.is_live(b))
        for (std::size_t i = 0; i < rows.experts(b).size(); ++i)
          routing.push(rows.experts(b)[i], rows.weights(b)[i]);
      routing.end_sample();
    }
  }

  /// \brief The record at hand. \see Stateful
  template <class F>
  void visit_state(F&& f) {
    f("position", std::span<std::int64_t>(position_));
  }
  /// \brief The record at hand. \see Stateful
  template <class F>
  void visit_state(F&& f) const {
    f("position", std::span<const std::int64_t>(position_));
  }
  /// \brief Takes over what was written through visit_state().
  /// \throws std::invalid_argument if there is no such record
  void restored() const {
    if (position() < 0 || position() > num_records()) [[unlikely]]
      detail::raise("ReplayGate::restored", "position", position_[0],
                    "in 0.." + std::to_string(num_records()));
  }

 private:
  void check(const Routing<S>& rows, std::size_t record) {
    const std::string where = "ReplayGate: record " + std::to_string(record);
    rows.validate(where, num_experts_, rows.num_samples());
    detail::check_weights(where, rows);
    for (Index b = 0; b < rows.num_samples(); ++b)
      max_active_ = std::max(max_active_, Index(rows.experts(b).size()));
  }

  [[nodiscard]] const Routing<S>& current(const char* where) const {
    if (position() >= num_records()) [[unlikely]]
      detail::raise(where, "no record is left: all " + std::to_string(num_records()) +
                               " have been given; seek() goes back");
    return records_[std::size_t(position())];
  }

  Index num_experts_;
  Index max_active_ = 0;
  std::vector<Routing<S>> records_;            // one per step
  std::array<std::int64_t, 1> position_ = {};  // of the record at hand
};

}  // namespace comet
