// SPDX-License-Identifier: MIT
#include <next_character/commands/trainee.hpp>

#include <next_character/commands/run.hpp>

namespace programs::next_character {

Json CharacterTrainee::options_with(const Json& changes) const { return to_json(changed(changes)); }

TrainingResult CharacterTrainee::train(const Json& changes,
                                       const std::filesystem::path& out) const {
  TrainOptions options = changed(changes);
  options.out = out.string();
  options.quiet = true;
  return run(options, text_, console_).training;
}

TrainOptions CharacterTrainee::changed(const Json& changes) const {
  TrainOptions options = defaults_;
  const OptionTable table = table_of(options);
  table.set(changes);
  table.check();
  return options;
}

}  // namespace programs::next_character
