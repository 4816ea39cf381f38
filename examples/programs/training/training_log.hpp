// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <programs/base/common_options.hpp>
#include <programs/base/console.hpp>
#include <programs/base/files.hpp>
#include <programs/training/reports.hpp>

namespace programs {

/// Whether a line on each gate is written after a step.
[[nodiscard]] bool is_recorded(const CommonOptions& options, std::int64_t step);

/// \brief Of --record, which begins its file anew: a table or a text, of the data perhaps, must not
/// be lost.
/// \throws std::invalid_argument if the file has something else in it than a record
void expect_record(const std::filesystem::path& file);

/// Writes every epoch and every tenth step to files and, unless it is to be quiet, both to the
/// console; and what the gates did, if options.record names a file.
class TrainingLog : public Observer {
 public:
  /// \param directory        for metrics.jsonl and steps.jsonl
  /// \param console, options  have to outlive it
  TrainingLog(const std::filesystem::path& directory, LineLog::Open mode, const Console& console,
              const CommonOptions& options);

  void on_step(const StepReport& report) override;
  void on_epoch(const EpochReport& report) override;
  [[nodiscard]] bool records(std::int64_t step) const override;
  void on_record(const std::string& line) override;
  Json on_checkpoint() override;
  void on_resume(const Json& remembered) override;

 private:
  LineLog epochs_;
  LineLog steps_;
  std::optional<LineLog> record_;
  const Console& console_;
  const CommonOptions& options_;
  using Clock = std::chrono::steady_clock;

  /// "epoch 2/6" or "step 500/2500".
  [[nodiscard]] std::string place_of(int epoch, std::int64_t step) const;
  /// "  about 3 min left"; nothing at the end, and before anything is known.
  [[nodiscard]] std::string time_left() const;

  Clock::time_point start_ = Clock::now();
  Clock::time_point next_update_;
  std::int64_t steps_here_ = 0;  // without those before a checkpoint
  std::int64_t steps_left_ = 0;
};

/// \brief The log of a rank that does not speak: it takes part where something of all ranks is to
/// be written.
class SilentLog : public Observer {
 public:
  /// \param options  has to outlive it
  explicit SilentLog(const CommonOptions& options) : options_(options) {}

  [[nodiscard]] bool records(std::int64_t step) const override {
    return is_recorded(options_, step);
  }

 private:
  const CommonOptions& options_;
};

}  // namespace programs
