// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <programs/base/figures.hpp>
#include <programs/base/json.hpp>

namespace programs {

/// \brief A finished trial of a search over hyper-parameters: a line of trials.jsonl.
struct Trial {
  int number = 0;
  std::optional<int> rung;   ///< of successive halving, for a training that was cut short
  std::string source;        ///< of the data
  std::string content = {};  ///< a fingerprint of them; empty of trials that do not say it
  Json options;              ///< all that its figures depend on
  int epochs = 0;
  int best_epoch = 0;
  double validation_loss = 0;  ///< of the best epoch; infinite if the training failed
  double test_loss = 0;
  std::vector<Measure> test_measures;  ///< the headlines
  double experts_per_sample = 0;       ///< on the validation rows
  double seconds = 0;
  std::string failure;  ///< why, if the training failed

  [[nodiscard]] std::string gate() const { return options.at("gate"); }
  [[nodiscard]] std::string local_search() const { return options.at("local_search"); }
};

[[nodiscard]] Json to_json(const Trial& trial);

/// \brief Reads a file of trials, in its order. A last line without its end, which a crash may
/// leave behind, is no trial.
/// \throws FileError with file and line for anything else that is not a trial
[[nodiscard]] std::vector<Trial> read_trials(const std::filesystem::path& file);

/// \brief Adds a trial to a file that several processes may share. What a crash left behind of an
/// unfinished line is removed first.
/// \throws FileError
void append_trial(const std::filesystem::path& file, const Trial& trial);

/// The trials that were trained to the end, best validation loss first, then by number.
[[nodiscard]] std::vector<Trial> ranked(std::span<const Trial> trials);

/// How many trials the best 5 % are, at least one.
[[nodiscard]] std::size_t best_share(std::size_t trials);

/// \brief Those of the ranked trials than which none is better in both validation loss and experts
/// per sample; from the best loss to the fewest experts.
[[nodiscard]] std::vector<Trial> pareto_front(std::span<const Trial> ranked);

struct MeanAndError {
  double mean = 0;
  std::optional<double> error;  ///< standard error of the mean; none of a single value
};
[[nodiscard]] MeanAndError mean_and_error(std::span<const double> values);

}  // namespace programs
