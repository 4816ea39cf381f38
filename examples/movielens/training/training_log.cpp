// SPDX-License-Identifier: MIT
#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <movielens/training/run_gate.hpp>

namespace movielens {
namespace {

constexpr const char* erase_to_end = "\x1b[K";
constexpr std::int64_t steps_per_line = 10;

}  // namespace

void TrainingLog::on_step(const StepReport& report) {
  if (report.step % steps_per_line == 1) steps_.append(to_json(report).dump());
  const auto now = std::chrono::steady_clock::now();
  if (options_.quiet || !console_.err_is_terminal || now < next_update_) return;
  next_update_ = now + std::chrono::milliseconds(200);
  console_.err << "\repoch " << report.epoch << '/' << options_.epochs << "  batch " << report.batch
               << '/' << report.batches << "  training loss " << report.loss.total << erase_to_end
               << std::flush;
}

void TrainingLog::on_epoch(const EpochReport& report) {
  epochs_.append(to_json(report).dump());
  if (options_.quiet) return;
  if (console_.err_is_terminal) console_.err << '\r';
  console_.err << progress_line(report, options_.epochs)
               << (console_.err_is_terminal ? erase_to_end : "") << std::endl;
}

Json TrainingLog::on_checkpoint() {
  return {{"metrics", epochs_.sync()}, {"steps", steps_.sync()}};
}

void TrainingLog::on_resume(const Json& remembered) {
  epochs_.cut(remembered.at("metrics"));
  steps_.cut(remembered.at("steps"));
}

Checkpoints checkpoints_of(const TrainOptions& options, const Dataset& data) {
  Json run = to_json(options);
  run["source"] = data.source;
  run["ratings"] = data.ratings;
  run["users"] = data.rows.num_users;
  run["items"] = data.rows.num_items;
  return {.file = std::filesystem::path(options.out) / "checkpoint.safetensors",
          .every = options.checkpoint_every,
          .resume = options.resume,
          .run = std::move(run)};
}

void start_directory(const std::filesystem::path& directory, bool resume) {
  make_directories(directory);
  const std::vector<std::string> results = {"result.json", "model.safetensors",
                                            "checkpoint.safetensors"};
  if (!resume)
    for (const std::string& name : results) remove_file(directory / name);
  std::vector<std::filesystem::path> unfinished;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    for (const std::string& name : results)
      if (entry.path().filename().string().starts_with(name + ".tmp."))
        unfinished.push_back(entry.path());
  for (const auto& path : unfinished) remove_file(path);
}

}  // namespace movielens
