// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>

#include <programs/base/files.hpp>

/// \file
/// \brief The files that a training has in its directory, by their names.

namespace programs {

inline constexpr const char* result_name = "result.json";
inline constexpr const char* model_name = "model.safetensors";
inline constexpr const char* checkpoint_name = "checkpoint.safetensors";
inline constexpr const char* metrics_name = "metrics.jsonl";
inline constexpr const char* steps_name = "steps.jsonl";

/// \brief Of the directory of a training, which begins by removing what an earlier one left there:
/// that must be nothing that this one reads, or would read the next time.
/// \param flag  says which directory
/// \throws std::invalid_argument naming the option and the file
void refuse_run_files(const char* flag, const std::filesystem::path& directory,
                      const Inputs& inputs);

/// \brief Of --record: it must be none of the files that the training has in its directory anyway,
/// with which it would be mixed or lost.
/// \throws std::invalid_argument naming the option and the file
void refuse_as_record(const std::filesystem::path& record, const std::filesystem::path& directory);

}  // namespace programs
