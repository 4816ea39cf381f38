// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <programs/base/json.hpp>

/// \file
/// \brief How good a model is, in numbers by name: what training, studies and reports know of a
/// program's model.

namespace programs {

struct Measure {
  std::string name;  ///< in JSON, "auc"
  double value = 0;
  bool is_headline = false;  ///< belongs into a line or a table for people
};

/// "AUC": short names are abbreviations.
[[nodiscard]] std::string label_of(const std::string& measure);

/// \brief The loss of a batch, or a sum over batches, and what it is made of.
struct TrainingLoss {
  double total = 0;
  std::vector<Measure> parts;  ///< the same in all batches; none before the first
  double penalty = 0;          ///< of gates and local search

  TrainingLoss& operator+=(const TrainingLoss& other);
  TrainingLoss& operator/=(double count);
};

/// \brief How good a model is on a split.
struct Figures {
  double loss = 0;                ///< without penalty
  std::vector<Measure> measures;  ///< what else there is to say
  double experts_per_sample = 0;  ///< mean over the gates
  std::vector<double> experts_per_sample_by_task;
  /// Per task, how many experts share the weight of all samples; none of a model without a gate.
  std::vector<double> effective_experts;
  std::vector<double> mutual_information;  ///< per task, of sample and expert, in nats
  std::vector<std::vector<double>> load;   ///< per task and expert, share of the samples

  /// \throws std::out_of_range if there is no measure of this name
  [[nodiscard]] double measure(const std::string& name) const;
  /// The same; nothing if there is none.
  [[nodiscard]] std::optional<double> find(const std::string& name) const;
  /// Of the gates; 0 without any.
  [[nodiscard]] double mean_effective_experts() const;
};

/// \brief The tasks whose gates have become constants: all samples go to the same few of many
/// experts. In words; empty if there is none.
[[nodiscard]] std::string constant_gates(const Figures& figures);

[[nodiscard]] Json to_json(const TrainingLoss& loss);
/// What to_json() was given.
[[nodiscard]] TrainingLoss training_loss_from(const Json& json);
[[nodiscard]] Json to_json(const Figures& figures);
/// What to_json() was given, but for what is a headline.
[[nodiscard]] Figures figures_from(const Json& json);

}  // namespace programs
