// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include <movielens/evaluation.hpp>
#include <movielens/trainer.hpp>

/// \file
/// \brief What a training says: one line per epoch, JSON for programs, a table at the end.

namespace movielens {

using Json = nlohmann::ordered_json;

[[nodiscard]] Json to_json(const Figures& figures);
[[nodiscard]] Json to_json(const EpochReport& report);

/// "epoch 2/6  loss 0.61 ..." for people.
[[nodiscard]] std::string progress_line(const EpochReport& report, int epochs);

/// Two lines: what is in the columns, and the test figures of one training.
[[nodiscard]] std::string result_table(const std::string& gate, const TrainingResult& result);

}  // namespace movielens
