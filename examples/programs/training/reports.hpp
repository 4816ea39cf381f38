// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <comet/gates/capabilities.hpp>

#include <programs/base/figures.hpp>
#include <programs/base/json.hpp>
#include <programs/base/order.hpp>

/// \file
/// \brief What a training says of itself: after a step, after an epoch, at the end.

namespace programs {

/// What is known after an epoch.
struct EpochReport {
  int epoch = 0;          ///< from 1
  std::int64_t step = 0;  ///< the last one, through all epochs
  TrainingLoss training;  ///< mean over the batches, as they were trained
  Figures validation = {};
  double seconds = 0;  ///< training and validation
  bool best = false;   ///< of all so far, by validation loss
  Order permutations = {};
  std::string remark = {};  ///< a line for people, if the task has one
};

/// What is known after a training step.
struct StepReport {
  int epoch = 0;            ///< from 1
  std::size_t batch = 0;    ///< of the epoch, from 1
  std::size_t batches = 0;  ///< in an epoch
  std::int64_t step = 0;    ///< from 1, through all epochs
  double loss = 0;
  double experts_per_sample = 0;  ///< of the batch as it was trained, mean over the gates
};

struct TrainingResult {
  int epochs = 0;
  int best_epoch = 0;
  double seconds = 0;                                ///< all of it
  double seconds_per_epoch = 0;                      ///< mean
  double test_seconds = 0;                           ///< to predict what is held out for the test
  Figures validation;                                ///< of the best epoch
  Figures test;                                      ///< with the weights of the best epoch
  std::vector<comet::GateAnnealing> annealing = {};  ///< of its gates, where they are steered
};

/// \brief Sees a training go on. The default looks away.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_step(const StepReport& /*report*/) {}
  virtual void on_epoch(const EpochReport& /*report*/) {}
  /// Whether it wants to know what the gates did in a step.
  [[nodiscard]] virtual bool records(std::int64_t /*step*/) const { return false; }
  /// \param line  of JSON: what one gate did in such a step, \see comet::RoutingRecord
  virtual void on_record(const std::string& /*line*/) {}
  /// \return what a checkpoint of now should remember for on_resume()
  virtual Json on_checkpoint() { return {}; }
  virtual void on_resume(const Json& /*remembered*/) {}
};

[[nodiscard]] Json to_json(const EpochReport& report);
[[nodiscard]] Json to_json(const StepReport& report);

/// "epoch 2/6  loss 0.61 ..." for people. \param place  "epoch 2/6"
[[nodiscard]] std::string progress_line(const EpochReport& report, const std::string& place);

}  // namespace programs
