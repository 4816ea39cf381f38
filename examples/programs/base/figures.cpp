// SPDX-License-Identifier: MIT
#include <programs/base/figures.hpp>

#include <cctype>
#include <cstddef>
#include <stdexcept>

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
  for (const Measure& measure : measures)
    if (measure.name == name) return measure.value;
  throw std::out_of_range("there is no measure " + name);
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
  json["load_per_expert"] = figures.load;
  return json;
}

Figures figures_from(const Json& json) {
  Figures figures;
  figures.loss = json.at("loss");
  figures.experts_per_sample = json.at("experts_per_sample");
  figures.experts_per_sample_by_task =
      json.at("experts_per_sample_by_task").get<std::vector<double>>();
  figures.load = json.at("load_per_expert").get<std::vector<std::vector<double>>>();
  for (const auto& [name, value] : json.items())
    if (name != "loss" && name != "experts_per_sample" && !value.is_array())
      figures.measures.push_back({.name = name, .value = value.get<double>()});
  return figures;
}

}  // namespace programs
