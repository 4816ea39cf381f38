// SPDX-License-Identifier: MIT
#include <movielens/training/checkpoint.hpp>

#include <movielens/base/json.hpp>

namespace movielens {

Json to_json(const Progress& p) {
  return {{"epoch", p.epoch},
          {"batch", p.batch},
          {"training", to_json(p.training)},
          {"best_epoch", p.best_epoch},
          {"validation", to_json(p.validation)},
          {"best_order", to_json(p.best_order)},
          {"seconds", p.seconds},
          {"epoch_start", p.epoch_start}};
}

Progress progress_from(const Json& json) {
  return {.epoch = json.at("epoch"),
          .batch = json.at("batch"),
          .training = training_loss_from(json.at("training")),
          .best_epoch = json.at("best_epoch"),
          .validation = figures_from(json.at("validation")),
          .best_order = order_from(json.at("best_order")),
          .seconds = json.at("seconds"),
          .epoch_start = json.at("epoch_start")};
}

Json read_state(const comet::TensorFile& file, const Json& run) {
  const auto found = file.metadata().find("training");
  const Json state = found == file.metadata().end() ? Json() : parse_json(found->second);
  if (!state.is_object() || !state.contains("run") || !state["run"].is_object())
    file.refuse("is no checkpoint of a training");
  const Json& saved = state["run"];
  for (const auto& [name, value] : run.items())
    if (!saved.contains(name) || saved[name] != value)
      file.refuse("is of a training with another " + name + ": " +
                  (saved.contains(name) ? saved[name].dump() : "none") + " there, " + value.dump() +
                  " here");
  return state;
}

}  // namespace movielens
