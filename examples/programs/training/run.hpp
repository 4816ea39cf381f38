// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/errors.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/local_search/annealing.hpp>
#include <comet/local_search/no_search.hpp>
#include <comet/local_search/permutation_search.hpp>
#include <comet/local_search/swap_search.hpp>

#include <programs/base/agreement.hpp>
#include <programs/base/common_options.hpp>
#include <programs/base/console.hpp>
#include <programs/base/file_lock.hpp>
#include <programs/base/files.hpp>
#include <programs/base/json.hpp>
#include <programs/base/places.hpp>
#include <programs/base/ranks.hpp>
#include <programs/training/diverged.hpp>
#include <programs/training/reports.hpp>
#include <programs/training/trainer.hpp>
#include <programs/training/training_log.hpp>

/// \file
/// \brief A training with its directory: metrics.jsonl, steps.jsonl and checkpoints as it goes,
/// model.safetensors, decision_paths.json and result.json at the end.

namespace programs {

struct RunResult {
  TrainingResult training;
  comet::Index parameters = 0;
};

/// \brief What a training is of, for its files and for people.
struct RunDescription {
  Json options;         ///< all that the figures depend on
  std::string source;   ///< of the data
  Json counts;          ///< what there is of it: {"ratings": 100836, "users": 610}
  std::string content;  ///< a fingerprint of it
  Json rows;            ///< of each split
};

/// "data: ml-latest-small: 100836 ratings, 610 users, 9724 items".
[[nodiscard]] std::string data_line(const std::string& source, const Json& counts);

/// Whether a training with these options goes on from a checkpoint.
[[nodiscard]] bool goes_on(const CommonOptions& options);

/// The figures of a run that was done before with the same options on the same data.
[[nodiscard]] std::optional<RunResult> finished_run(const CommonOptions& options,
                                                    const RunDescription& description);

/// \brief Checks that ranks are about to do the same: options, data, and what they find in
/// options.out.
/// \throws std::invalid_argument on every rank, naming the first that differs
void expect_same_run(Ranks* ranks, const CommonOptions& options, const RunDescription& description);

/// \brief Removes what a crash kept from becoming files of these names.
/// \param directory  nobody else writes them there now
void remove_unfinished(const std::filesystem::path& directory,
                       const std::vector<std::string>& names);

namespace detail {

/// \brief Refuses what is not to be had over ranks. \throws std::invalid_argument on each of them
void refuse_over_ranks(const CommonOptions& options, bool gates_depend_on_batch,
                       const Ranks& ranks);

/// Of a training with these options on these data.
[[nodiscard]] Checkpoints checkpoints_of(const CommonOptions& options,
                                         const RunDescription& description);

/// \brief Keeps other trainings out of a directory for as long as the lock is held. It is on
/// metrics.jsonl, which every training writes.
/// \throws FileError if one is under way there
[[nodiscard]] FileLock hold_directory(const std::filesystem::path& directory);

/// Makes the directory of a training and removes what an earlier one left there: all its results,
/// or, for one that goes on, what a crash kept from being written.
void start_directory(const std::filesystem::path& directory, bool resume);

void tell_start(const CommonOptions& options, const RunDescription& description,
                comet::Index parameters, const Console& console);

/// What there is to be warned of.
void tell_end(const CommonOptions& options, const TrainingResult& result, const Console& console);

/// \param paths  a list of programs::decision_path; no file of an empty one
void write_decision_paths(const CommonOptions& options, const Json& paths);

/// \param threads  of each rank    \param ranks  1 for a process that is alone
void write_result(const CommonOptions& options, const RunDescription& description,
                  const RunResult& result, comet::Index threads, comet::Index ranks);

/// Whether each gate of a task has experts, and an order of them, of its own.
template <class Task>
inline constexpr bool has_own_orders = requires {
  requires Task::has_own_orders;
};

/// Calls `use` with the local search that the options name.
template <class Task, class Use>
TrainingResult with_local_search(Task& task, const CommonOptions& o, Use use) {
  constexpr std::size_t held_out_rows = 1024;
  const auto batches = comet::Index(task.num_batches());
  const comet::Index steps = std::max(comet::Index(2), batches * o.search_epochs);
  switch (local_search_of(o.local_search)) {
    case LocalSearch::relaxed: {
      const comet::RandomKey key(static_cast<std::uint64_t>(o.seed));
      comet::Annealing annealing = comet::Annealing::published();
      annealing.first_temperature = o.search_temperatures[0];
      annealing.last_temperature = o.search_temperatures[1];
      comet::PermutationSearch search(
          {.steps = steps, .annealing = annealing, .per_task = has_own_orders<Task>},
          task.model().gates(), key.fold(places::search));
      return use(search);
    }
    case LocalSearch::swap: {
      if constexpr (requires { task.held_out_objective(held_out_rows); }) {
        // A search in the middle and at the end of every search epoch.
        comet::SwapSearch search({.steps = steps,
                                  .interval = std::max(comet::Index(1), batches / 2),
                                  .budget = 500,
                                  .max_block = 1},
                                 task.held_out_objective(held_out_rows));
        return use(search);
      }
      throw std::invalid_argument("this program has no local search by swaps");
    }
    default: {
      comet::NoSearch search;
      return use(search);
    }
  }
}

}  // namespace detail

/// With a learning rate that stays, and early stopping. \param batches  of an epoch
[[nodiscard]] TrainerOptions trainer_options(const CommonOptions& options, std::size_t batches);
/// How gates are steered to k experts, if they are. \param sparse_by  steps
[[nodiscard]] std::optional<comet::SparsityControllerOptions> sparsity_of(
    const CommonOptions& options, std::int64_t sparse_by);

/// \brief Trains one model. With options.resume it goes on from the checkpoint in options.out, if
/// there is one.
/// \param task     made for console.ranks, if there are any: each of them trains, and rank 0 writes
/// \param options  how; what else there is to know of the run is in the common ones
/// \param save   writes the model of a result to a file, if options.weights
/// \param paths  gives the way of a few rows through its gates, a list of programs::decision_path
/// \throws Interrupted if an orderly end was asked for
/// \throws Diverged if a number is not finite any more: the logs stay, there is no checkpoint,
///         which would only diverge again, and nothing of what a training leaves at its end
template <TrainingTask Task, class Save, class Paths>
RunResult run_training(Task& task, const CommonOptions& o, const TrainerOptions& options,
                       const RunDescription& description, comet::ThreadPool& pool,
                       const Console& console, Save save, Paths paths) {
  Ranks* const ranks = console.ranks;
  const auto& gates = task.model().gates();
  if (ranks != nullptr)
    detail::refuse_over_ranks(
        o,
        std::any_of(gates.begin(), gates.end(),
                    [](const auto& gate) { return comet::depends_on_batch(gate); }),
        *ranks);
  const Checkpoints checkpoints = detail::checkpoints_of(o, description);
  std::optional<FileLock> held;
  std::unique_ptr<Observer> log = std::make_unique<SilentLog>(o);
  RunResult result;
  result.parameters = comet::count_parameters(task.model());
  do_once(ranks, [&] {
    const auto mode = goes_on(o) ? LineLog::Open::append : LineLog::Open::fresh;
    expect_record(o.record);
    // What an earlier training left is there until this one can begin.
    make_directories(o.out);  // the record may be to lie there
    held.emplace(detail::hold_directory(o.out));
    if (!o.record.empty()) (void)LineLog(o.record, LineLog::Open::append);
    detail::start_directory(o.out, o.resume);
    log = std::make_unique<TrainingLog>(o.out, mode, console, o);
    if (!o.quiet) detail::tell_start(o, description, result.parameters, console);
  });
  const comet::RandomKey key(static_cast<std::uint64_t>(o.seed));
  result.training = detail::with_local_search(task, o, [&](auto& search) {
    Trainer trainer(task, search, options, key.fold(places::training), &pool, *log, checkpoints,
                    ranks);
    try {
      return trainer.train();
    } catch (const comet::NotFinite&) {
      if (speaks(ranks)) remove_file(checkpoints.file);
      throw diverged(o, trainer.progress().epoch, trainer.num_steps());
    }
  });
  do_once(ranks, [&] {
    if (!o.quiet) detail::tell_end(o, result.training, console);
    if (o.weights) save(std::filesystem::path(o.out) / "model.safetensors", result.training);
    detail::write_decision_paths(o, paths());
    detail::write_result(o, description, result, pool.num_threads(),
                         ranks == nullptr ? 1 : ranks->size());
    std::filesystem::remove(checkpoints.file);
  });
  return result;
}

}  // namespace programs
