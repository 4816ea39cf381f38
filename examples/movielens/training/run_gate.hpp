// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <filesystem>
#include <ostream>

#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/local_search/permutation_search.hpp>
#include <comet/local_search/swap_search.hpp>

#include <movielens/base/files.hpp>
#include <movielens/base/places.hpp>
#include <movielens/model/model_builder.hpp>
#include <movielens/report/report.hpp>
#include <movielens/training/checkpoint.hpp>
#include <movielens/training/held_out_objective.hpp>
#include <movielens/training/model_file.hpp>
#include <movielens/training/run.hpp>

namespace movielens {

/// Writes every epoch and every tenth step to files and, unless it is to be quiet, both to the
/// console.
class TrainingLog : public Observer {
 public:
  TrainingLog(LineLog& epochs, LineLog& steps, const Console& console, const TrainOptions& options)
      : epochs_(epochs), steps_(steps), console_(console), options_(options) {}

  void on_step(const StepReport& report) override;
  void on_epoch(const EpochReport& report) override;
  Json on_checkpoint() override;
  void on_resume(const Json& remembered) override;

 private:
  LineLog& epochs_;
  LineLog& steps_;
  const Console& console_;
  const TrainOptions& options_;
  std::chrono::steady_clock::time_point next_update_;
};

/// Of a training with these options on these data.
[[nodiscard]] Checkpoints checkpoints_of(const TrainOptions& options, const Dataset& data);

/// Makes the directory of a training and removes what an earlier one left there: all its results,
/// or, for one that goes on, what a crash kept from being written.
void start_directory(const std::filesystem::path& directory, bool resume);

/// \brief Gives the model the weights and permutations of options.from_pretrained.
/// \throws FileError or comet::FileError if it is not of the same users, items and sizes
template <class Model>
void load_pretrained(const TrainOptions& options, const Dataset& data, Model& model) {
  const ModelFile file(options.from_pretrained);
  check_ids(file, data.user_ids, data.item_ids, data.source);
  file.load(model);
}

/// \brief Trains the model with gates of one kind.
/// \param make_gate  callable with a key
template <class MakeGate>
RunResult run_gate(const TrainOptions& o, const Dataset& data, const Console& console,
                   MakeGate make_gate) {
  const RandomKey key(static_cast<std::uint64_t>(o.seed));
  auto model = build_model(o, data.rows.num_users, data.rows.num_items, make_gate);
  using Gate = typename decltype(model)::GateType;
  const Checkpoints checkpoints = checkpoints_of(o, data);
  const bool resumes = o.resume && std::filesystem::exists(checkpoints.file);
  if (!o.from_pretrained.empty() && !resumes) load_pretrained(o, data, model);

  const std::filesystem::path out = o.out;
  start_directory(out, o.resume);
  const auto mode = resumes ? LineLog::Open::append : LineLog::Open::fresh;
  LineLog epochs(out / "metrics.jsonl", mode);
  LineLog steps(out / "steps.jsonl", mode);
  if (!o.quiet)
    console.err << "data: " << data.source << ": " << data.ratings << " ratings, "
                << data.rows.num_users << " users, " << data.rows.num_items << " items\n"
                << "gate: " << o.gate
                << (o.local_search == "none" ? "" : ", " + o.local_search + " local search") << ", "
                << comet::count_parameters(model) << " parameters; results in " << out.string()
                << (resumes ? "; goes on from its checkpoint" : "") << std::endl;

  comet::ThreadPool pool(o.threads);
  TrainingLog log(epochs, steps, console, o);
  const TaskWeights weights{.watched = o.task_weights[0], .rating = o.task_weights[1]};
  const TrainerOptions trainer{.learning_rate = o.learning_rate,
                               .batch_size = std::size_t(o.batch_size),
                               .epochs = o.epochs,
                               .patience = o.patience,
                               .task_weights = weights};
  const auto train_with = [&](auto& search) {
    return train(model, data.rows, trainer, key.fold(places::training), &pool, log, search,
                 checkpoints);
  };
  const Index batches = Index(Batches(data.rows.train, trainer.batch_size).size());
  const Index search_steps = std::max(Index(2), batches * o.search_epochs);
  TrainingResult result;
  if (o.local_search == "relaxed") {
    comet::PermutationSearch<typename Gate::Scalar> search(
        {.steps = search_steps,
         .annealing = {.first_temperature = o.search_temperatures[0],
                       .last_temperature = o.search_temperatures[1]}},
        model.mixture().gates(), key.fold(places::search));
    result = train_with(search);
  } else if (o.local_search == "swap") {
    // A search in the middle and at the end of every search epoch.
    comet::SwapSearch search({.steps = search_steps,
                              .interval = std::max(Index(1), batches / 2),
                              .budget = 500,
                              .max_block = 1},
                             HeldOutObjective<Gate>(model, data.rows.validation, 1024, weights));
    result = train_with(search);
  } else {
    NoSearch search;
    result = train_with(search);
  }

  if (o.weights) save_model(out / "model.safetensors", model, o, data);
  const Index parameters = comet::count_parameters(model);
  const Json json = {{"source", data.source},
                     {"ratings", data.ratings},
                     {"users", data.rows.num_users},
                     {"items", data.rows.num_items},
                     {"rows",
                      {{"train", data.rows.train.size()},
                       {"validation", data.rows.validation.size()},
                       {"test", data.rows.test.size()}}},
                     {"options", to_json(o)},
                     {"parameters", parameters},
                     {"epochs", result.epochs},
                     {"best_epoch", result.best_epoch},
                     {"test", to_json(result.test)},
                     {"threads", pool.num_threads()},
                     {"seconds_per_epoch", result.seconds_per_epoch},
                     {"seconds", result.seconds}};
  write_atomically(out / "result.json", json.dump(2) + "\n");
  std::filesystem::remove(checkpoints.file);
  return {.training = result, .parameters = parameters};
}

}  // namespace movielens
