// SPDX-License-Identifier: MIT
#include <programs/base/figures.hpp>

#include <cctype>
#include <cmath>
#include <cstddef>
#include <stdexcept>

#include <programs/base/text_table.hpp>

namespace programs {

std::string label_of(const std::string& measure) {
  constexpr std::size_t longest_abbreviation = 3;
  std::string label = measure;
  if (label.size() <= longest_abbreviation)
    for (char& c : label) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return label;
}

TrainingLoss& TrainingLoss::operator+=(const TrainingLoss& other) {
  total += other.total;
  penalty += other.penalty;
  if (parts.empty()) {
    parts = other.parts;
    return *this;
  }
  for (std::size_t i = 0; i < parts.size(); ++i) parts[i].value += other.parts.at(i).value;
  return *this;
}

TrainingLoss& TrainingLoss::operator/=(double count) {
  total /= count;
  penalty /= count;
  for (Measure& part : parts) part.value /= count;
  return *this;
}

double Figures::measure(const std::string& name) const {
  if (const std::optional<double> found = find(name)) return *found;
  throw std::out_of_range("there is no measure " + name);
}

std::optional<double> Figures::find(const std::string& name) const {
  for (const Measure& measure : measures)
    if (measure.name == name) return measure.value;
  if (name == "loss") return loss;  // files of results say it once
  return std::nullopt;
}

double Figures::mean_effective_experts() const {
  double sum = 0;
  for (const double experts : effective_experts) sum += experts;
  return effective_experts.empty() ? 0 : sum / static_cast<double>(effective_experts.size());
}

std::string constant_gates(const Figures& figures) {
  constexpr double share_of_all = 0.02;  // of what a gate can tell at most
  std::string text;
  for (std::size_t task = 0; task < figures.mutual_information.size(); ++task) {
    const auto experts = static_cast<double>(figures.load[task].size());
    const double effective = figures.effective_experts[task];
    if (effective > experts / 2 ||
        figures.mutual_information[task] > share_of_all * std::log(experts))
      continue;
    text += formatted(
        "%s%s sends all samples to the same %.1f of %.0f experts", text.empty() ? "" : "; ",
        figures.load.size() == 1 ? "the gate"
                                 : ("the gate of task " + std::to_string(task + 1)).c_str(),
        effective, experts);
  }
  return text;
}

Json to_json(const TrainingLoss& loss) {
  Json json = {{"loss", loss.total}};
  for (const Measure& part : loss.parts) json[part.name] = part.value;
  json["penalty"] = loss.penalty;
  return json;
}

TrainingLoss training_loss_from(const Json& json) {
  TrainingLoss loss{.total = json.at("loss"), .parts = {}, .penalty = json.at("penalty")};
  for (const auto& [name, value] : json.items())
    if (name != "loss" && name != "penalty")
      loss.parts.push_back({.name = name, .value = value.get<double>()});
  return loss;
}

Json to_json(const Figures& figures) {
  Json json = {{"loss", figures.loss}};
  for (const Measure& measure : figures.measures) json[measure.name] = measure.value;
  json["experts_per_sample"] = figures.experts_per_sample;
  json["experts_per_sample_by_task"] = figures.experts_per_sample_by_task;
  json["effective_experts"] = figures.effective_experts;
  json["mutual_information"] = figures.mutual_information;
  json["load_per_expert"] = figures.load;
  return json;
}

Figures figures_from(const Json& json) {
  Figures figures;
  figures.loss = json.at("loss");
  figures.experts_per_sample = json.at("experts_per_sample");
  figures.experts_per_sample_by_task =
      json.at("experts_per_sample_by_task").get<std::vector<double>>();
  // Results of before have not said them.
  figures.effective_experts = json.value("effective_experts", std::vector<double>());
  figures.mutual_information = json.value("mutual_information", std::vector<double>());
  figures.load = json.at("load_per_expert").get<std::vector<std::vector<double>>>();
  for (const auto& [name, value] : json.items())
    if (name != "loss" && name != "experts_per_sample" && !value.is_array())
      figures.measures.push_back({.name = name, .value = value.get<double>()});
  return figures;
}

}  // namespace programs
