// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <comet/concepts.hpp>
#include <comet/local_search/train_with_local_search.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/parameters.hpp>
#include <comet/permutation.hpp>
#include <comet/random.hpp>
#include <comet/thread_pool.hpp>

#include <movielens/batches.hpp>
#include <movielens/evaluation.hpp>
#include <movielens/model.hpp>
#include <movielens/snapshot.hpp>
#include <movielens/two_task.hpp>

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
  Figures validation;
  double seconds = 0;  ///< training and validation
  bool best = false;   ///< of all so far, by validation loss
  std::vector<std::vector<comet::Permutation>>
      permutations;  ///< per gate: one, or one per selector
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
  Figures test;                  ///< with the weights of the best epoch
};

/// \brief Sees a training go on. The default looks away.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_step(const StepReport& /*report*/) {}
  virtual void on_epoch(const EpochReport& /*report*/) {}
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
/// for any number of threads.
/// \param pool    not owned, may be null
/// \param search  a PermutationStrategy for the model's gates; takes part until it has finished
template <class Gate, class Search>
TrainingResult train(TwoTaskModel<Gate>& model, const TwoTaskData& data,
                     const TrainerOptions& options, RandomKey key, comet::ThreadPool* pool,
                     Observer& observer, Search& search) {
  using S = typename Gate::Scalar;
  using Clock = std::chrono::steady_clock;
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  const auto row = [](std::span<const float> values) {
    return Eigen::Map<const Matrix<S>>(values.data(), 1, Index(values.size()));
  };

  typename TwoTaskModel<Gate>::Workspace workspace(pool);
  comet::Adam<S> adam({.learning_rate = options.learning_rate}, pool);
  Batches batches(data.train, options.batch_size);
  Evaluator<Gate> validation(data.validation, options.batch_size);
  Searched<TwoTaskModel<Gate>, Search> searched{model, search};
  auto& gates = model.mixture().gates();
  Snapshot<S> best;
  std::vector<std::vector<comet::Permutation>> best_order;  // per gate
  double best_loss = 0;
  double epoch_seconds = 0;
  TrainingResult result;
  const auto start = Clock::now();
  for (int epoch = 1; epoch <= options.epochs; ++epoch) {
    const auto epoch_start = Clock::now();
    const RandomKey epoch_key = key.fold(std::uint64_t(epoch));
    batches.shuffle(epoch_key.fold(0));
    EpochReport report;
    report.epoch = epoch;
    for (std::size_t b = 0; b < batches.size(); ++b) {
      const Batch batch = batches[b];
      Loss loss;
      comet::step_with_local_search(
          search, gates,
          [&] {
            loss = model.accumulate_gradients(batch.user, batch.item, row(batch.watched),
                                              row(batch.rating), options.task_weights,
                                              epoch_key.fold(1).fold(b), workspace);
            const double search_penalty = search.regularization();
            loss.penalty += search_penalty;
            loss.total += search_penalty;
          },
          [&] { adam.step(searched); });
      report.training += loss;
      observer.on_step({.epoch = epoch,
                        .batch = b + 1,
                        .batches = batches.size(),
                        .step = adam.num_steps(),
                        .loss = loss,
                        .experts_per_sample = experts_per_sample<Gate>(workspace)});
    }
    report.training /= double(batches.size());
    report.validation = validation.evaluate(model, options.task_weights, workspace);
    for (const Gate& gate : gates) report.permutations.push_back(gate.permutations());
    report.best = epoch == 1 || report.validation.loss.total < best_loss;
    if (report.best) {
      best_loss = report.validation.loss.total;
      result.best_epoch = epoch;
      best.take(model);
      best_order = report.permutations;
    }
    report.seconds = seconds_since(epoch_start);
    epoch_seconds += report.seconds;
    result.epochs = epoch;
    observer.on_epoch(report);
    if (epoch - result.best_epoch >= options.patience) break;
  }
  best.restore(model);
  for (std::size_t task = 0; task < gates.size(); ++task)
    gates[task].set_permutations(best_order[task]);
  result.test = Evaluator<Gate>(data.test, options.batch_size)
                    .evaluate(model, options.task_weights, workspace);
  result.seconds = seconds_since(start);
  result.seconds_per_epoch = epoch_seconds / result.epochs;
  return result;
}

}  // namespace movielens
