// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <filesystem>
#include <ostream>
#include <utility>
#include <vector>

#include <comet/local_search/permutation_search.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/local_search/swap_search.hpp>
#include <comet/parameters.hpp>
#include <comet/random.hpp>
#include <comet/thread_pool.hpp>

#include <movielens/files.hpp>
#include <movielens/held_out_objective.hpp>
#include <movielens/places.hpp>
#include <movielens/report.hpp>
#include <movielens/run.hpp>

namespace movielens {

/// Writes every epoch and every tenth step to files and, unless it is to be quiet, both to the
/// console.
class TrainingLog : public Observer {
 public:
  TrainingLog(LineLog& epochs, LineLog& steps, const Console& console, const TrainOptions& options)
      : epochs_(epochs), steps_(steps), console_(console), options_(options) {}

  void on_step(const StepReport& report) override;
  void on_epoch(const EpochReport& report) override;

 private:
  LineLog& epochs_;
  LineLog& steps_;
  const Console& console_;
  const TrainOptions& options_;
  std::chrono::steady_clock::time_point next_update_;
};

/// \brief Trains the model with gates of one kind. Every gate is wrapped in a PermutedGate: without
/// a search it keeps the identity, which costs a look-up per entry.
/// \param make_gate  callable with a key
template <class MakeGate>
RunResult run_gate(const TrainOptions& o, const Dataset& data, const Console& console,
                   MakeGate make_gate) {
  const RandomKey key(static_cast<std::uint64_t>(o.seed));
  using Gate = comet::PermutedGate<decltype(make_gate(key))>;
  using Model = TwoTaskModel<Gate>;
  ModelOptions model_options = o.model;
  model_options.num_users = data.rows.num_users;
  model_options.num_items = data.rows.num_items;
  std::vector<Gate> gates;
  for (std::size_t task = 0; task < Model::num_tasks; ++task)
    gates.emplace_back(make_gate(key.fold(places::gates).fold(task)));
  Model model(model_options, std::move(gates), key.fold(places::model));

  const std::filesystem::path out = o.out;
  make_directories(out);
  std::filesystem::remove(out / "result.json");  // of an earlier training, if any
  LineLog epochs(out / "metrics.jsonl", LineLog::Open::fresh);
  LineLog steps(out / "steps.jsonl", LineLog::Open::fresh);
  if (!o.quiet)
    console.err << "data: " << data.source << ": " << data.ratings << " ratings, "
                << data.rows.num_users << " users, " << data.rows.num_items << " items\n"
                << "gate: " << o.gate
                << (o.local_search == "none" ? "" : ", " + o.local_search + " local search") << ", "
                << comet::count_parameters(model) << " parameters; results in " << out.string()
                << std::endl;

  comet::ThreadPool pool(o.threads);
  TrainingLog log(epochs, steps, console, o);
  const TaskWeights weights{.watched = o.task_weights[0], .rating = o.task_weights[1]};
  const TrainerOptions trainer{.learning_rate = o.learning_rate,
                               .batch_size = std::size_t(o.batch_size),
                               .epochs = o.epochs,
                               .patience = o.patience,
                               .task_weights = weights};
  const auto train_with = [&](auto& search) {
    return train(model, data.rows, trainer, key.fold(places::training), &pool, log, search);
  };
  const Index batches = Index(Batches(data.rows.train, trainer.batch_size).size());
  const Index search_steps = std::max(Index(2), batches * o.search_epochs);
  TrainingResult result;
  if (o.local_search == "relaxed") {
    comet::PermutationSearch<typename Model::S> search(
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
  return {.training = result, .parameters = parameters};
}

}  // namespace movielens
