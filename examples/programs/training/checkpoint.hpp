// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include <comet/io/safetensors.hpp>
#include <comet/optimizers/adam.hpp>

#include <programs/base/figures.hpp>
#include <programs/base/json.hpp>
#include <programs/training/gate_steering.hpp>

/// \file
/// \brief A training on the disk: all that it needs to go on as if nothing had happened.
///
/// Batches, dropout and noise are functions of (seed, epoch, batch), so there is no state of a
/// random generator to keep.

namespace programs {

/// \brief Where a training leaves checkpoints, and how often.
struct Checkpoints {
  std::filesystem::path file;
  std::optional<std::int64_t> every;  ///< training steps, 0 for none; without it, once per epoch
  bool resume = false;                ///< go on from the file if there is one
  Json run;  ///< what the training is a function of; a file that has another is refused

  [[nodiscard]] bool any() const { return every != 0; }
  [[nodiscard]] bool due_after_step(std::int64_t step) const {
    return every.value_or(0) > 0 && step % *every == 0;
  }
  [[nodiscard]] bool due_after_epoch() const { return !every; }
};

/// \brief How far a training has come.
struct Progress {
  int epoch = 1;                                     ///< the one under way
  std::size_t batch = 0;                             ///< batches of it that are done
  TrainingLoss training;                             ///< sum over them
  int best_epoch = 0;                                ///< 0 before the first validation
  Figures validation;                                ///< of the best epoch
  std::vector<comet::GateAnnealing> best_annealing;  ///< of its gates, where they are steered
  double seconds = 0;                                ///< so far
  double epoch_start = 0;                            ///< seconds when the epoch began
};

[[nodiscard]] Json to_json(const Progress& progress);

/// A model and what its local search learns, as one model for the optimizer. Neither is owned.
template <class Model, class Search>
struct Searched {
  using Scalar = typename Model::Scalar;
  Model& model;
  Search& search;

  template <class F>
  void visit(F&& f) const {
    model.visit(f);
    f("search", search);
  }
};

/// \brief A training as it is after some step.
template <class Model, class Search>
struct TrainingState {
  Searched<Model, Search> searched;
  comet::Adam<typename Model::Scalar> adam;
  GateSteering steering;
  std::optional<Model> best = {};  ///< none before the first validation
  Progress progress = {};
};

/// What two trainings differ in, as the rest of a sentence about the saved one; empty if in
/// nothing.
[[nodiscard]] std::string other_training(const Json& saved, const Json& run);

inline constexpr const char* damaged_checkpoint = "its description of the training is damaged";

/// \brief Reads what a checkpoint says besides tensors. \return how long the training's logs were
/// \throws comet::FileError if it is damaged, or of another training by its `run`
[[nodiscard]] Json read_progress(const comet::TensorFile& file, const Json& run,
                                 Progress& progress);

/// \param logs  how long the training's logs are
template <class Model, class Search>
void save_checkpoint(const Checkpoints& checkpoints, const Json& logs,
                     const TrainingState<Model, Search>& state) {
  std::vector<std::vector<comet::Tensor>> parts = {
      comet::parameter_tensors(state.searched, "now."),
      comet::state_tensors(state.searched.model.gates(), "gates."),
      comet::state_tensors(state.searched.search, "search."),
      comet::state_tensors(state.adam, "adam."),
      comet::state_tensors(state.steering.controllers(), "steering.")};
  if (state.best) {
    parts.push_back(comet::parameter_tensors(*state.best, "best."));
    parts.push_back(comet::state_tensors(state.best->gates(), "best_gates."));
  }
  const Json json = {
      {"run", checkpoints.run}, {"progress", to_json(state.progress)}, {"logs", logs}};
  comet::save_tensors(checkpoints.file, comet::joined(parts), {{"training", json.dump()}});
}

/// \return how long the training's logs were
/// \throws comet::FileError if the file is damaged or of another training
template <class Model, class Search>
Json load_checkpoint(const Checkpoints& checkpoints, TrainingState<Model, Search>& state) {
  const comet::TensorFile file(checkpoints.file);
  Json logs = read_progress(file, checkpoints.run, state.progress);
  comet::load_parameters(file, state.searched, "now.");
  comet::load_state(file, state.searched.model.gates(), "gates.");
  comet::load_state(file, state.searched.search, "search.");
  comet::load_state(file, state.adam, "adam.");
  comet::load_state(file, state.steering.controllers(), "steering.");
  auto& gates = state.searched.model.gates();
  GateSteering::apply(state.steering.settings(), gates);
  if (state.progress.best_epoch > 0) {
    state.best = state.searched.model;
    comet::load_parameters(file, *state.best, "best.");
    comet::load_state(file, state.best->gates(), "best_gates.");
    GateSteering::apply(state.progress.best_annealing, state.best->gates());
  }
  return logs;
}

}  // namespace programs
