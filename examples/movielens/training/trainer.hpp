// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/local_search/train_with_local_search.hpp>
#include <comet/optimizers/adam.hpp>

#include <movielens/base/interrupt.hpp>
#include <movielens/data/batches.hpp>
#include <movielens/data/two_task.hpp>
#include <movielens/model/model.hpp>
#include <movielens/training/checkpoint.hpp>
#include <movielens/training/evaluation.hpp>

namespace movielens {

struct TrainerOptions {
  double learning_rate = 5e-4;
  std::size_t batch_size = 512;
  int epochs = 100;
  int patience = 25;  ///< epochs without a better validation loss before the end
  TaskWeights task_weights;
};

/// What is known after an epoch.
struct EpochReport {
  int epoch = 0;  ///< from 1
  Loss training;  ///< mean over the batches, as they were trained
  Figures validation = {};
  double seconds = 0;  ///< training and validation
  bool best = false;   ///< of all so far, by validation loss
  Order permutations = {};
};

/// What is known after a training step.
struct StepReport {
  int epoch = 0;            ///< from 1
  std::size_t batch = 0;    ///< of the epoch, from 1
  std::size_t batches = 0;  ///< in an epoch
  std::int64_t step = 0;    ///< from 1, through all epochs
  Loss loss;
  double experts_per_sample = 0;  ///< of the batch as it was trained, mean over the gates
};

struct TrainingResult {
  int epochs = 0;
  int best_epoch = 0;
  double seconds = 0;            ///< all of it
  double seconds_per_epoch = 0;  ///< mean
  Figures validation;            ///< of the best epoch
  Figures test;                  ///< with the weights of the best epoch
};

/// \brief Sees a training go on. The default looks away.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_step(const StepReport& /*report*/) {}
  virtual void on_epoch(const EpochReport& /*report*/) {}
  /// \return what a checkpoint of now should remember for on_resume()
  virtual Json on_checkpoint() { return {}; }
  virtual void on_resume(const Json& /*remembered*/) {}
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

/// \brief The local search of a training without one.
struct NoSearch {
  template <class Gates>
  void prepare(Gates&) {}
  template <class Gates>
  void backward(Gates&) {}
  template <class Gates>
  void advance(Gates&) {}
  [[nodiscard]] bool finished() const { return true; }
  [[nodiscard]] double regularization() const { return 0; }
};

/// Of the workspace's last batch, mean over the gates.
template <class Gate>
double experts_per_sample(const typename TwoTaskModel<Gate>::Workspace& workspace) {
  double sum = 0;
  for (Index task = 0; task < Index(TwoTaskModel<Gate>::num_tasks); ++task) {
    const auto& routing = workspace.mixture().routing(task);
    sum += double(routing.num_entries()) / double(routing.num_samples());
  }
  return sum / double(TwoTaskModel<Gate>::num_tasks);
}

/// \brief Trains with Adam and early stopping, restores the best weights and tests them.
///
/// Batches, dropout and noise are functions of (key, epoch, batch), so the result is the same bits
/// for any number of threads, and for a training that was ended and goes on from a checkpoint.
/// \param pool    not owned, may be null
/// \param search  a PermutationStrategy for the model's gates; takes part until it has finished
/// \throws std::invalid_argument if it diverges, whether a gate, a loss or Adam sees it first
/// \throws Interrupted between two steps if an orderly end was asked for, after a checkpoint
template <class Gate, class Search>
TrainingResult train(TwoTaskModel<Gate>& model, const TwoTaskData& data,
                     const TrainerOptions& options, RandomKey key, comet::ThreadPool* pool,
                     Observer& observer, Search& search, const Checkpoints& checkpoints) {
  using S = typename Gate::Scalar;
  const auto row = [](std::span<const float> values) {
    return Eigen::Map<const Matrix<S>>(values.data(), 1, Index(values.size()));
  };

  typename TwoTaskModel<Gate>::Workspace workspace(pool);
  Batches batches(data.train, options.batch_size);
  Evaluator<Gate> validation(data.validation, options.batch_size);
  auto& gates = model.mixture().gates();
  TrainingState<Gate, Search> state{
      .searched = {model, search},
      .adam = comet::Adam<S>({.learning_rate = options.learning_rate}, pool)};
  Progress& progress = state.progress;
  if (checkpoints.resume && std::filesystem::exists(checkpoints.file))
    observer.on_resume(load_checkpoint(checkpoints, state));
  const Stopwatch stopwatch(progress.seconds);
  const auto leave_checkpoint = [&] {
    progress.seconds = stopwatch.seconds();
    save_checkpoint(checkpoints, observer.on_checkpoint(), state);
  };
  const auto is_over = [&] {
    const int done = progress.epoch - 1;
    return done == options.epochs || done - progress.best_epoch >= options.patience;
  };
  while (!is_over()) {
    const int epoch = progress.epoch;
    const RandomKey epoch_key = key.fold(std::uint64_t(epoch));
    batches.shuffle(epoch_key.fold(0));
    while (progress.batch < batches.size()) {
      const Batch batch = batches[progress.batch];
      Loss loss;
      comet::step_with_local_search(
          search, gates,
          [&] {
            loss = model.accumulate_gradients(batch.user, batch.item, row(batch.watched),
                                              row(batch.rating), options.task_weights,
                                              epoch_key.fold(1).fold(progress.batch), workspace);
            const double search_penalty = search.regularization();
            loss.penalty += search_penalty;
            loss.total += search_penalty;
          },
          [&] {
            try {
              state.adam.step(state.searched);
            } catch (const std::runtime_error& error) {
              throw std::invalid_argument(error.what());
            }
          });
      progress.training += loss;
      ++progress.batch;
      observer.on_step({.epoch = epoch,
                        .batch = progress.batch,
                        .batches = batches.size(),
                        .step = state.adam.num_steps(),
                        .loss = loss,
                        .experts_per_sample = experts_per_sample<Gate>(workspace)});
      const bool is_interrupted = movielens::is_interrupted();
      if (checkpoints.due_after_step(state.adam.num_steps()) ||
          (is_interrupted && checkpoints.any()))
        leave_checkpoint();
      if (is_interrupted)
        throw Interrupted(checkpoints.any() ? "the same command with --resume goes on from step " +
                                                  std::to_string(state.adam.num_steps())
                                            : "there is no checkpoint to go on from");
    }
    EpochReport report{.epoch = epoch, .training = progress.training};
    report.training /= double(batches.size());
    report.validation = validation.evaluate(model, options.task_weights, workspace);
    report.permutations = order_of(gates);
    report.best =
        progress.best_epoch == 0 || report.validation.loss.total < progress.validation.loss.total;
    if (report.best) {
      progress.best_epoch = epoch;
      progress.validation = report.validation;
      progress.best_order = report.permutations;
      state.best.take(model);
    }
    const double now = stopwatch.seconds();
    report.seconds = now - std::exchange(progress.epoch_start, now);
    observer.on_epoch(report);
    ++progress.epoch;
    progress.batch = 0;
    progress.training = {};
    if (checkpoints.due_after_epoch() && !is_over()) leave_checkpoint();
  }
  state.best.restore(model);
  set_order(gates, progress.best_order);
  TrainingResult result;
  result.epochs = progress.epoch - 1;
  result.best_epoch = progress.best_epoch;
  result.validation = progress.validation;
  result.seconds_per_epoch = progress.epoch_start / result.epochs;
  result.test = Evaluator<Gate>(data.test, options.batch_size)
                    .evaluate(model, options.task_weights, workspace);
  result.seconds = stopwatch.seconds();
  return result;
}

}  // namespace movielens
