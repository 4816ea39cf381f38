// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <concepts>
#include <cstddef>
#include <deque>
#include <ostream>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/number_text.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/types.hpp>
#include <comet/metrics/routing.hpp>

/// \file
/// \brief What the gates of a layer did with its batches, step by step: plain data to be looked at,
/// written down or replayed.

namespace comet {

/// \brief What one gate decided in one step.
template <class S>
struct RoutingRecord {
  Index step = 0;               ///< As it was given.
  Index gate = 0;               ///< Place of the gate among those of its layer.
  RoutingSummary summary = {};  ///< Of the batch.
  Routing<S> rows = {};         ///< All of it, or no row unless rows are kept.
};

/// Settings of a RoutingRecorder.
struct RoutingRecorderOptions {
  Index capacity = 1000;   ///< >= 1: steps that are kept; the oldest goes when another comes
  bool keep_rows = false;  ///< keep experts and weights of every sample, to be replayed
};

/// \brief Records what the gates of a layer do, a record per gate and step.
///
/// The last steps are kept, as many as there is capacity for; what record() returns can be handed
/// on at once, to a file for example, so that no step is lost.
///
/// \code
///   RoutingRecorder<float> recorder({.capacity = 100});
///   layer.forward(x, y, key.fold(step), pass);
///   for (const auto& record : recorder.record(step, pass)) write_json_line(file, record);
/// \endcode
///
/// Rows are those of the batch in its order: to have the bits of a training again, replay the same
/// batches.
///
/// \par Cost     O(entries + n) per gate and step; memory: capacity times 2 n numbers per gate, and
///               with rows all their entries
/// \tparam S     float or double, the scalar of the weights
/// \see ReplayGate, which gives rows again; summarize
template <class S>
class RoutingRecorder {
 public:
  using Scalar = S;                            ///< float or double.
  using Step = std::vector<RoutingRecord<S>>;  ///< A record per gate.

  /// \throws std::invalid_argument if capacity < 1
  explicit RoutingRecorder(RoutingRecorderOptions options = {}) : options_(options) {
    detail::check_at_least("RoutingRecorder", "capacity", options.capacity, 1);
  }

  /// \brief Records a step.
  /// \param routings     one per gate
  /// \param num_experts  n
  /// \return the records of the step, valid until the next one
  /// \throws std::invalid_argument naming the first entry that is not in 0..n-1; nothing is
  ///         recorded then
  std::span<const RoutingRecord<S>> record(Index step, std::span<const Routing<S>> routings,
                                           Index num_experts) {
    Step records;
    for (std::size_t gate = 0; gate < routings.size(); ++gate)
      records.push_back({.step = step,
                         .gate = Index(gate),
                         .summary = summarize(routings[gate], num_experts),
                         .rows = options_.keep_rows ? routings[gate] : Routing<S>()});
    if (num_steps() == options_.capacity) steps_.pop_front();
    steps_.push_back(std::move(records));
    return steps_.back();
  }
  /// \brief Records what the last batch of a pass was routed to.
  /// \param pass  of a MoeLayer, after forward() or predict()
  template <class Layer>
  std::span<const RoutingRecord<S>> record(Index step, const Pass<Layer>& pass) {
    static_assert(std::same_as<typename Layer::Scalar, S>,
                  "comet::RoutingRecorder::record: the layer has another scalar type");
    return record(step, pass.workspace.routings(), pass.workspace.plan().num_experts());
  }

  /// Number of steps that are kept.
  [[nodiscard]] Index num_steps() const noexcept { return Index(steps_.size()); }
  /// The steps that are kept, the oldest first.
  [[nodiscard]] const std::deque<Step>& steps() const noexcept { return steps_; }
  /// The settings in use.
  [[nodiscard]] const RoutingRecorderOptions& options() const noexcept { return options_; }

  /// \brief The rows of one gate in all steps that are kept, the oldest first: for a ReplayGate.
  /// \throws std::invalid_argument if rows are not kept, or a step has no such gate
  [[nodiscard]] std::vector<Routing<S>> rows(Index gate) const {
    constexpr const char* where = "RoutingRecorder::rows";
    if (!options_.keep_rows)
      detail::raise(where, "rows are not kept: make the recorder with .keep_rows = true");
    detail::check_at_least(where, "gate", gate, 0);
    std::vector<Routing<S>> rows;
    for (const Step& step : steps_) {
      detail::check_at_most(where, "gate", gate, "the last of the step", Index(step.size()) - 1);
      rows.push_back(step[std::size_t(gate)].rows);
    }
    return rows;
  }

  /// Forgets all steps.
  void clear() noexcept { steps_.clear(); }

 private:
  RoutingRecorderOptions options_;
  std::deque<Step> steps_;  // at most options_.capacity
};

namespace detail {

/// A line of JSON: numbers read back as what they were, whatever the locale of stream and program.
class JsonLine {
 public:
  template <class T>
  requires std::is_arithmetic_v<T>
  void value(T number) {
    if constexpr (std::floating_point<T>)
      if (!std::isfinite(number)) {
        text_ += "null";  // JSON has neither nan nor infinity
        return;
      }
    text_ += number_text(number);
  }
  template <class T>
  void value(const std::vector<T>& numbers) {
    list(numbers.size(), [&](std::size_t i) { value(numbers[i]); });
  }
  /// A list of so many, each written by `write`.
  template <class Write>
  void list(std::size_t size, Write write) {
    text_ += '[';
    for (std::size_t i = 0; i < size; ++i) {
      if (i > 0) text_ += ',';
      write(i);
    }
    text_ += ']';
  }
  void name(const char* key) {
    text_ += text_.empty() ? "{\"" : ",\"";
    text_ += key;
    text_ += "\":";
  }
  template <class T>
  void member(const char* key, const T& content) {
    name(key);
    value(content);
  }
  [[nodiscard]] std::string end() && { return std::move(text_) + "}\n"; }

 private:
  std::string text_;
};

}  // namespace detail

/// \brief Writes a record as a line of JSON: step, gate, the members of its summary by their names,
/// and, if there are any, `rows`: per sample a list of [expert, weight].
///
/// Numbers read back as what they were, whatever the locale; nan and infinity are null.
template <class S>
void write_json_line(std::ostream& out, const RoutingRecord<S>& record) {
  detail::JsonLine line;
  line.member("step", record.step);
  line.member("gate", record.gate);
  const RoutingSummary& summary = record.summary;
  line.member("num_experts", summary.num_experts);
  line.member("num_rows", summary.num_rows);
  line.member("experts_per_sample", summary.experts_per_sample);
  line.member("effective_experts", summary.effective_experts);
  line.member("effective_per_sample", summary.effective_per_sample);
  line.member("mutual_information", summary.mutual_information);
  line.member("load", summary.load);
  line.member("mass", summary.mass);
  const Routing<S>& rows = record.rows;
  if (rows.num_samples() > 0) {
    line.name("rows");
    line.list(std::size_t(rows.num_samples()), [&](std::size_t b) {
      const auto experts = rows.experts(Index(b));
      const auto weights = rows.weights(Index(b));
      line.list(experts.size(), [&](std::size_t i) {
        line.list(2,
                  [&](std::size_t j) { j == 0 ? line.value(experts[i]) : line.value(weights[i]); });
      });
    });
  }
  const std::string text = std::move(line).end();
  out.write(text.data(), std::streamsize(text.size()));
}

}  // namespace comet
