// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <filesystem>

#include <movielens/base/common_options.hpp>
#include <movielens/base/console.hpp>
#include <movielens/base/files.hpp>
#include <movielens/training/reports.hpp>

namespace movielens {

/// Writes every epoch and every tenth step to files and, unless it is to be quiet, both to the
/// console.
class TrainingLog : public Observer {
 public:
  /// \param directory        for metrics.jsonl and steps.jsonl
  /// \param console, options  have to outlive it
  TrainingLog(const std::filesystem::path& directory, LineLog::Open mode, const Console& console,
              const CommonOptions& options);

  void on_step(const StepReport& report) override;
  void on_epoch(const EpochReport& report) override;
  Json on_checkpoint() override;
  void on_resume(const Json& remembered) override;

 private:
  LineLog epochs_;
  LineLog steps_;
  const Console& console_;
  const CommonOptions& options_;
  std::chrono::steady_clock::time_point next_update_;
};

}  // namespace movielens
