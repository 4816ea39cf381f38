// SPDX-License-Identifier: MIT
#include <programs/training/checkpoint.hpp>

#include <programs/base/json.hpp>

namespace programs {
namespace {

Progress progress_from(const Json& json) {
  return {.epoch = json.at("epoch"),
          .batch = json.at("batch"),
          .training = training_loss_from(json.at("training")),
          .best_epoch = json.at("best_epoch"),
          .validation = figures_from(json.at("validation")),
          .best_annealing = annealing_from(json.value("best_annealing", Json::array())),
          .seconds = json.at("seconds"),
          .epoch_start = json.at("epoch_start")};
}

/// Whether it can be of a training.
bool is_possible(const Progress& p) {
  return p.epoch >= 1 && p.best_epoch >= 0 && p.best_epoch < p.epoch;
}

}  // namespace

Json to_json(const Progress& p) {
  return {{"epoch", p.epoch},
          {"batch", p.batch},
          {"training", to_json(p.training)},
          {"best_epoch", p.best_epoch},
          {"validation", to_json(p.validation)},
          {"best_annealing", to_json(p.best_annealing)},
          {"seconds", p.seconds},
          {"epoch_start", p.epoch_start}};
}

std::string other_training(const Json& saved, const Json& run) {
  const auto said = [](const Json& json, const std::string& name) {
    return json.contains(name) ? json[name].dump() : "none";
  };
  const auto differs = [&](const std::string& name) {
    return "is of another training: " + name + ": " + said(saved, name) + " there, " +
           said(run, name) + " here";
  };
  for (const auto& [name, value] : run.items())
    if (!saved.contains(name) || saved[name] != value) return differs(name);
  // What is as it is by default is not said.
  for (const auto& [name, value] : saved.items())
    if (!run.contains(name)) return differs(name);
  return {};
}

Json read_progress(const comet::TensorFile& file, const Json& run, Progress& progress) {
  const auto found = file.metadata().find("training");
  const Json state = found == file.metadata().end() ? Json() : parse_json(found->second);
  if (!state.is_object() || !state.contains("run") || !state["run"].is_object())
    file.refuse("is no checkpoint of a training");
  const Json& saved = state["run"];
  if (const std::string other = other_training(saved, run); !other.empty()) file.refuse(other);
  try {
    progress = progress_from(state.at("progress"));
    if (is_possible(progress)) return state.at("logs");
  } catch (const Json::exception&) {
  }
  file.refuse(damaged_checkpoint);
}

}  // namespace programs
