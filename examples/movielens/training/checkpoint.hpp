// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/types.hpp>
#include <comet/io/safetensors.hpp>
#include <comet/optimizers/adam.hpp>

#include <movielens/base/figures.hpp>
#include <movielens/base/json.hpp>
#include <movielens/base/order.hpp>
#include <movielens/training/snapshot.hpp>

/// \file
/// \brief A training on the disk: all that it needs to go on as if nothing had happened.
///
/// Batches, dropout and noise are functions of (seed, epoch, batch), so there is no state of a
/// random generator to keep.

namespace movielens {

using comet::Index;

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
  int epoch = 1;           ///< the one under way
  std::size_t batch = 0;   ///< batches of it that are done
  TrainingLoss training;   ///< sum over them
  int best_epoch = 0;      ///< 0 before the first validation
  Figures validation;      ///< of the best epoch
  Order best_order;        ///< in the best epoch
  double seconds = 0;      ///< so far
  double epoch_start = 0;  ///< seconds when the epoch began
};

[[nodiscard]] Json to_json(const Progress& progress);
[[nodiscard]] Progress progress_from(const Json& json);

/// A model and what its local search learns, as one model for the optimizer.
template <class Model, class Search>
struct Searched {
  using Scalar = typename Model::S;
  Model& model;
  Search& search;

  template <class F>
  void visit_parameters(F&& f) {
    model.visit_parameters(f);
    if constexpr (comet::Parametric<Search>) comet::visit_part("search", search, f);
  }
};

/// \brief A training as it is after some step.
template <class Model, class Search>
struct TrainingState {
  Searched<Model, Search> searched;
  comet::Adam<typename Model::S> adam;
  Snapshot<typename Model::S> best = {};
  Progress progress = {};
};

/// Reads a checkpoint. \throws comet::FileError if it is of a training with another `run`
[[nodiscard]] Json read_state(const comet::TensorFile& file, const Json& run);

/// \param logs  how long the training's logs are
template <class Gates, class Model, class Search>
void save_checkpoint(const Checkpoints& checkpoints, const Json& logs, const Gates& gates,
                     TrainingState<Model, Search>& state) {
  using S = typename Model::S;
  std::vector<comet::Tensor> tensors = comet::parameter_tensors(state.searched, "now.");
  state.adam.visit_state([&](const char* name, auto& values) {
    tensors.push_back(
        comet::make_tensor<S>(std::string("adam.") + name, {Index(values.size())}, values));
  });
  if (state.progress.best_epoch > 0) {
    const auto best = state.best.tensors(state.searched.model, "best.");
    tensors.insert(tensors.end(), best.begin(), best.end());
  }
  auto& search = state.searched.search;
  Json json = {{"run", checkpoints.run},
               {"progress", to_json(state.progress)},
               {"steps", state.adam.num_steps()},
               {"order", to_json(order_of(gates))},
               {"logs", logs}};
  if constexpr (requires { search.step(); }) json["search_steps"] = search.step();
  if constexpr (requires { search.permutations(); })
    json["search_order"] = to_json(Order{search.permutations()});
  comet::save_tensors(checkpoints.file, std::move(tensors), {{"training", json.dump()}});
}

/// \return how long the training's logs were
/// \throws comet::FileError if the file is damaged or of another training
template <class Gates, class Model, class Search>
Json load_checkpoint(const Checkpoints& checkpoints, Gates& gates,
                     TrainingState<Model, Search>& state) {
  using S = typename Model::S;
  const comet::TensorFile file(checkpoints.file);
  const Json json = read_state(file, checkpoints.run);
  auto& model = state.searched.model;
  auto& search = state.searched.search;
  try {
    state.progress = progress_from(json.at("progress"));
    comet::load_parameters(file, state.searched, "now.");
    const Index count = comet::count_parameters(state.searched);
    state.adam.set_num_steps(json.at("steps"));
    state.adam.visit_state([&](const char* name, auto& values) {
      const std::vector<S> saved = file.values<S>(std::string("adam.") + name);
      if (Index(saved.size()) != count)
        file.refuse(std::string("tensor \"adam.") + name + "\" is not of the model's size");
      values.assign(saved.begin(), saved.end());
    });
    if (state.progress.best_epoch > 0) state.best.load(file, model, "best.");
    set_order(gates, order_from(json.at("order")));
    if constexpr (requires { search.restore(Index(0)); }) {
      search.restore(json.at("search_steps").get<Index>());
    } else if constexpr (requires { search.permutations(); }) {
      search.restore(json.at("search_steps").get<Index>(),
                     order_from(json.at("search_order")).at(0), gates);
    }
    return json.at("logs");
  } catch (const Json::exception&) {
    file.refuse("its description of the training is damaged");
  } catch (const std::logic_error&) {
    file.refuse("its description of the training is damaged");
  }
}

}  // namespace movielens
