// SPDX-License-Identifier: MIT
#include <movielens/commands/trainee.hpp>

#include <movielens/commands/run.hpp>

namespace programs::movielens {

Json TwoTaskTrainee::options_with(const Json& changes) const { return to_json(changed(changes)); }

TrainingResult TwoTaskTrainee::train(const Json& changes, const std::filesystem::path& out) const {
  TrainOptions options = changed(changes);
  options.out = out.string();
  options.quiet = true;
  return run(options, data_, console_).training;
}

TrainOptions TwoTaskTrainee::changed(const Json& changes) const {
  TrainOptions options = defaults_;
  const OptionTable table = table_of(options);
  table.set(changes);
  table.check();
  return options;
}

}  // namespace programs::movielens
