// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/distributed/collectives.hpp>
#include <comet/distributed/replicated.hpp>
#include <comet/local_search/train_with_local_search.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/optimizers/clip_by_global_norm.hpp>
#include <comet/training/routing_recorder.hpp>

#include <programs/base/agreement.hpp>
#include <programs/base/figures.hpp>
#include <programs/base/interrupt.hpp>
#include <programs/base/ranks.hpp>
#include <programs/training/checkpoint.hpp>
#include <programs/training/gate_steering.hpp>
#include <programs/training/reports.hpp>
#include <programs/training/shared_batch.hpp>

namespace programs {

/// \brief A model on its data: batches to learn from, and figures of what is held out.
///
/// `held_out_objective(rows)`, what a swap search minimises, is asked for with that search alone; a
/// task without one has no such search. What `remark()` says, if there is one, is shown after an
/// epoch. A task that was made for ranks has all data on each, routes a piece of every batch there,
/// and gives the loss, the gradients and the figures of the whole, on every rank the same bits.
template <class T>
concept TrainingTask = requires(T& task, const T& seen, std::size_t batch, comet::RandomKey key,
                                comet::GradientView<typename T::Model::Scalar> gradients) {
  { task.model() } -> std::same_as<typename T::Model&>;
  task.model().gates();                                 // of the mixture, one per task; a range
  seen.gate_passes();                                   // theirs, with the last batch
  seen.routings();                                      // by them, of the last batch
  { seen.num_batches() } -> std::same_as<std::size_t>;  // of an epoch
  task.shuffle(key);                                    // for an epoch
  { task.accumulate_gradients(batch, key, gradients) } -> std::same_as<TrainingLoss>;
  { task.validate() } -> std::same_as<Figures>;
  { task.test() } -> std::same_as<Figures>;
};

struct TrainerOptions {
  comet::AdamOptions adam = {.learning_rate = 5e-4};
  std::optional<double> clip_norm = {};  ///< longest gradient
  int epochs = 100;
  int patience = 25;        ///< epochs without a better validation loss before the end
  bool keeps_last = false;  ///< the weights of the last epoch, whatever its validation loss
  std::optional<std::int64_t> steps = {};  ///< at most, through all epochs: the last ends with them
  std::optional<comet::SparsityControllerOptions> sparsity = {};  ///< of gates that anneal
};

/// Seconds, from those that an earlier part of the training took on.
class Stopwatch {
 public:
  explicit Stopwatch(double seconds) : before_(seconds), start_(Clock::now()) {}
  [[nodiscard]] double seconds() const {
    return before_ + std::chrono::duration<double>(Clock::now() - start_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  double before_;
  Clock::time_point start_;
};

/// \brief Trains with Adam and early stopping, restores the best weights and tests them.
///
/// Batches, dropout and noise are functions of (key, epoch, batch), so the result is the same bits
/// for any number of threads, and for a training that was ended and goes on from a checkpoint.
template <TrainingTask Task, class Search>
class Trainer {
 public:
  /// \param pool    may be null. Nothing is owned.
  /// \param search  a PermutationStrategy for the task's gates; takes part until it has finished
  /// \param ranks   that the task was made for, may be null. Checkpoints are written by rank 0 and
  ///                read by all.
  Trainer(Task& task, Search& search, const TrainerOptions& options, comet::RandomKey key,
          comet::ThreadPool* pool, Observer& observer, const Checkpoints& checkpoints,
          Ranks* ranks = nullptr)
      : task_(task),
        options_(options),
        key_(key),
        pool_(pool),
        observer_(observer),
        checkpoints_(checkpoints),
        ranks_(ranks),
        state_(start(task, search, options, pool)),
        gradients_(state_.searched),
        progress_(state_.progress) {}

  /// How far it has come.
  [[nodiscard]] const Progress& progress() const noexcept { return progress_; }
  /// Done so far, through all epochs.
  [[nodiscard]] std::int64_t num_steps() const { return state_.adam.num_steps(); }

  /// \throws comet::NotFinite if it diverges, whether a gate, a loss or Adam sees it first
  /// \throws Interrupted between two steps if an orderly end was asked for, after a checkpoint
  TrainingResult train() {
    if (checkpoints_.resume && std::filesystem::exists(checkpoints_.file)) resume();
    if (ranks_ != nullptr) check_replicas();
    stopwatch_ = Stopwatch(progress_.seconds);
    while (!is_over()) {
      train_epoch();
      end_epoch();
      if (checkpoints_.due_after_epoch() && !is_over()) leave_checkpoint();
    }
    return finish();
  }

 private:
  using Model = typename Task::Model;
  using Scalar = typename Model::Scalar;
  using State = TrainingState<Model, Search>;

  static State start(Task& task, Search& search, const TrainerOptions& options,
                     comet::ThreadPool* pool) {
    const Searched<Model, Search> searched{task.model(), search};
    return {.searched = searched,
            .adam = comet::Adam(searched, options.adam, pool),
            .steering = GateSteering(task.model().gates(), options.sparsity)};
  }

  [[nodiscard]] bool is_over() const {
    const int done = progress_.epoch - 1;
    return done == options_.epochs || done - progress_.best_epoch >= options_.patience ||
           has_all_steps();
  }
  [[nodiscard]] bool has_all_steps() const {
    return options_.steps && state_.adam.num_steps() >= *options_.steps;
  }

  /// A difference would grow from here on and never be seen.
  void check_replicas() {
    comet::check_replicated(*ranks_, state_.searched, "train");
    comet::check_replicated_state(*ranks_, state_.searched.model.gates(), "train: of the gates,");
    comet::check_replicated_state(*ranks_, state_.searched.search, "train: of the local search,");
    comet::check_replicated_state(*ranks_, state_.adam, "train: of Adam,");
  }

  void resume() {
    const Json logs = load_checkpoint(checkpoints_, state_);
    if (progress_.epoch > options_.epochs || progress_.batch > task_.num_batches())
      throw comet::FileError(checkpoints_.file, damaged_checkpoint);
    try {
      observer_.on_resume(logs);
    } catch (const Json::exception&) {  // what the observer said of them is not there
      throw comet::FileError(checkpoints_.file, damaged_checkpoint);
    }
  }

  void leave_checkpoint() {
    if (!speaks(ranks_)) return;
    progress_.seconds = stopwatch_.seconds();
    save_checkpoint(checkpoints_, observer_.on_checkpoint(), state_);
  }

  /// What is left of it.
  void train_epoch() {
    const comet::RandomKey epoch_key = key_.fold(std::uint64_t(progress_.epoch));
    task_.shuffle(epoch_key.fold(0));
    while (progress_.batch < task_.num_batches() && !has_all_steps()) {
      const TrainingLoss loss = step(epoch_key.fold(1).fold(progress_.batch));
      progress_.training += loss;
      ++progress_.batch;
      observer_.on_step({.epoch = progress_.epoch,
                         .batch = progress_.batch,
                         .batches = task_.num_batches(),
                         .step = state_.adam.num_steps(),
                         .loss = loss.total,
                         .experts_per_sample = counts_.mean_experts_per_sample()});
      record_step();
      heed_interrupts();
    }
  }

  TrainingLoss step(comet::RandomKey key) {
    TrainingLoss loss;
    auto& model = state_.searched.model;
    auto& search = state_.searched.search;
    comet::step_with_local_search(
        search, model.gates(),
        [&] {
          comet::GradientView<Scalar> rest = gradients_;
          loss = task_.accumulate_gradients(progress_.batch, key, rest.next(model));
          if (!search.finished()) {
            search.backward(model.gates(), task_.gate_passes(), rest);
            sum_search_gradients(rest);
          }
          const double search_penalty = search.regularization();
          loss.penalty += search_penalty;
          loss.total += search_penalty;
        },
        [&] {
          if (options_.clip_norm)
            comet::clip_by_global_norm(gradients_, *options_.clip_norm, pool_);
          state_.adam.step(state_.searched, gradients_);
          counts_.count(model.gates(), task_.routings(), rank_sum());
          state_.steering.end_of_step(model.gates(), counts_, task_.gate_passes());
        });
    return loss;
  }

  /// Of what a search learns a rank has the gradient by the rows here, and all are to have that by
  /// all of them: the task sees to the model's.
  void sum_search_gradients(comet::GradientView<Scalar> gradients) {
    if (ranks_ == nullptr) return;
    for (comet::Index i = 0; i < gradients.size(); ++i) {
      auto tensor = gradients[i];
      comet::sum_over_ranks(*ranks_, std::span(tensor.data(), std::size_t(tensor.size())));
    }
  }

  void record_step() {
    const std::int64_t step = state_.adam.num_steps();
    if (!observer_.records(step)) return;
    const comet::Index experts = task_.model().gates().front().num_experts();
    std::vector<comet::Routing<Scalar>> whole;
    std::span<const comet::Routing<Scalar>> routings = task_.routings();
    if (ranks_ != nullptr) routings = whole = gathered_routings(*ranks_, routings);
    for (const auto& record : recorder_.record(step, routings, experts)) {
      std::ostringstream line;
      comet::write_json_line(line, record);
      observer_.on_record(line.str());
    }
  }

  /// No sum in one process.
  [[nodiscard]] comet::RankSum rank_sum() {
    return ranks_ == nullptr ? comet::RankSum() : comet::make_rank_sum(*ranks_);
  }

  void heed_interrupts() {
    const bool interrupted = any_rank(ranks_, is_interrupted());
    if (checkpoints_.due_after_step(state_.adam.num_steps()) || (interrupted && checkpoints_.any()))
      leave_checkpoint();
    if (interrupted)
      throw Interrupted(checkpoints_.any() ? "the same command with --resume goes on from step " +
                                                 std::to_string(state_.adam.num_steps())
                                           : "there is no checkpoint to go on from");
  }

  void end_epoch() {
    EpochReport report{
        .epoch = progress_.epoch, .step = state_.adam.num_steps(), .training = progress_.training};
    report.training /= double(progress_.batch);
    report.validation = task_.validate();
    report.permutations = order_of(task_.model().gates());
    report.best = options_.keeps_last || progress_.best_epoch == 0 ||
                  report.validation.loss < progress_.validation.loss;
    if (report.best) {
      progress_.best_epoch = report.epoch;
      progress_.validation = report.validation;
      progress_.best_annealing = state_.steering.settings();
      state_.best = task_.model();
    }
    if constexpr (requires { task_.remark(); }) report.remark = task_.remark();
    const double now = stopwatch_.seconds();
    report.seconds = now - std::exchange(progress_.epoch_start, now);
    observer_.on_epoch(report);
    ++progress_.epoch;
    progress_.batch = 0;
    progress_.training = {};
  }

  TrainingResult finish() {
    task_.model() = *state_.best;
    // The best epoch may be one of the search: what is kept is its order, not the soft one around
    // it.
    auto& gates = task_.model().gates();
    set_order(gates, order_of(gates));
    TrainingResult result;
    result.annealing = progress_.best_annealing;
    result.epochs = progress_.epoch - 1;
    result.best_epoch = progress_.best_epoch;
    result.validation = progress_.validation;
    result.seconds_per_epoch = progress_.epoch_start / result.epochs;
    const double before_test = stopwatch_.seconds();
    result.test = task_.test();
    result.seconds = stopwatch_.seconds();
    result.test_seconds = result.seconds - before_test;
    return result;
  }

  Task& task_;
  const TrainerOptions& options_;
  comet::RandomKey key_;
  comet::ThreadPool* pool_;
  Observer& observer_;
  const Checkpoints& checkpoints_;
  Ranks* ranks_;
  State state_;
  StepCounts counts_;
  comet::Gradients<Scalar> gradients_;  // of model and search
  comet::RoutingRecorder<Scalar> recorder_{{.capacity = 1}};
  Progress& progress_;
  Stopwatch stopwatch_{0};
};

}  // namespace programs
