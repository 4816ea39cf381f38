// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <programs/base/text_table.hpp>
#include <programs/study/trials.hpp>

/// \file
/// \brief What a search over hyper-parameters found, by the paper's protocol.

namespace programs {

struct TrialSummary {
  std::string source;          ///< of the data
  std::size_t trials = 0;      ///< trained to the end
  std::size_t cut_short = 0;   ///< by successive halving
  std::size_t failed = 0;      ///< of those trained to the end
  std::size_t best_share = 0;  ///< how many trials are the best 5 % by validation loss
  MeanAndError test_loss;      ///< of these
  std::vector<std::pair<std::string, MeanAndError>> test_measures;
  std::vector<std::string> varied;  ///< options that are not the same in all trials
  std::vector<Trial> best;          ///< the same trials, best first
  std::vector<Trial> pareto_front;
};

/// \param trials  of one search, at least one
[[nodiscard]] TrialSummary summary_of(std::span<const Trial> trials);

[[nodiscard]] Json to_json(const TrialSummary& summary);
[[nodiscard]] std::string summary_text(const TrialSummary& summary);
[[nodiscard]] std::string summary_markdown(const TrialSummary& summary);

/// "40 trials, 1 of them failed; halving cut 20 others short".
[[nodiscard]] std::string head_of(const TrialSummary& summary);
/// What the best reach: "test loss 0.61 +- 0.01, AUC 0.86 +- 0.01".
[[nodiscard]] std::string best_of(const TrialSummary& summary);
/// \brief Trials as cells, the head first. \param varied  the options that are shown
[[nodiscard]] Cells trial_cells(std::span<const Trial> trials,
                                const std::vector<std::string>& varied);

/// \brief A line for people when a trial ends.
/// \param seconds_left  until all are done, as far as can be told
[[nodiscard]] std::string progress_line(const Trial& trial, std::size_t done, std::size_t trials,
                                        const Trial& best, double seconds_left);

}  // namespace programs
