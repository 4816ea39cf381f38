// SPDX-License-Identifier: MIT
#include <programs/training/training_log.hpp>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <ios>
#include <ostream>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include <programs/base/file_error.hpp>
#include <programs/base/text_table.hpp>
#include <programs/training/run_files.hpp>

namespace programs {
namespace {

constexpr const char* erase_to_end = "\x1b[K";
constexpr std::int64_t steps_per_line = 10;

/// \brief Whether a text is the beginning of a record, or of what a training cut short has left of
/// one. steps.jsonl begins with a step, too, and has no gate.
bool begins_record(std::string_view text) {
  const auto take = [&](std::string_view word) {
    const bool is_there = word.starts_with(text.substr(0, word.size()));
    text.remove_prefix(std::min(word.size(), text.size()));
    return is_there;
  };
  if (!take(R"({"step":)")) return false;
  const bool is_numbered = text.empty() || (text.front() >= '0' && text.front() <= '9');
  text.remove_prefix(std::min(text.find_first_not_of("0123456789"), text.size()));
  return is_numbered && take(R"(,"gate":)");
}

}  // namespace

bool is_recorded(const CommonOptions& options, std::int64_t step) {
  return !options.record.empty() && (step - 1) % options.record_every == 0;
}

void expect_record(const std::filesystem::path& file) {
  std::error_code none;
  if (!std::filesystem::is_regular_file(file, none)) return;
  constexpr std::size_t longest = 64;  // more than a step of 19 digits
  std::string begins(longest, '\0');
  std::ifstream stream(file, std::ios::binary);
  stream.read(begins.data(), std::streamsize(begins.size()));
  begins.resize(std::size_t(stream.gcount()));
  if (!begins_record(begins))  // an empty file will do
    throw std::invalid_argument("--record is " + in_quotes(file.string()) +
                                ", which is no record of a training and would be lost");
}

TrainingLog::TrainingLog(const std::filesystem::path& directory, LineLog::Open mode,
                         const Console& console, const CommonOptions& options)
    : epochs_(directory / metrics_name, mode),
      steps_(directory / steps_name, mode),
      console_(console),
      options_(options) {
  if (!options.record.empty()) record_.emplace(options.record, mode);
}

void TrainingLog::on_step(const StepReport& report) {
  if (report.step % steps_per_line == 1) steps_.append(to_json(report).dump());
  ++steps_here_;
  const std::int64_t steps =
      options_.steps > 0 ? options_.steps : options_.epochs * std::int64_t(report.batches);
  steps_left_ = steps - report.step;
  const auto now = Clock::now();
  if (options_.quiet || !console_.err_is_terminal || now < next_update_) return;
  next_update_ = now + std::chrono::milliseconds(200);
  console_.err << '\r' << place_of(report.epoch, report.step);
  if (options_.steps == 0) console_.err << "  batch " << report.batch << '/' << report.batches;
  console_.err << "  training loss " << report.loss << time_left() << erase_to_end << std::flush;
}

void TrainingLog::on_epoch(const EpochReport& report) {
  epochs_.append(to_json(report).dump());
  if (options_.quiet) return;
  if (console_.err_is_terminal) console_.err << '\r';
  console_.err << progress_line(report, place_of(report.epoch, report.step)) << time_left()
               << (console_.err_is_terminal ? erase_to_end : "") << std::endl;
  if (!report.remark.empty()) console_.err << report.remark << std::endl;
}

bool TrainingLog::records(std::int64_t step) const { return is_recorded(options_, step); }

void TrainingLog::on_record(const std::string& line) {
  record_->append(std::string_view(line).substr(0, line.find('\n')));
}

std::string TrainingLog::place_of(int epoch, std::int64_t step) const {
  return options_.steps > 0
             ? "step " + std::to_string(step) + '/' + std::to_string(options_.steps)
             : "epoch " + std::to_string(epoch) + '/' + std::to_string(options_.epochs);
}

std::string TrainingLog::time_left() const {
  if (steps_here_ == 0 || steps_left_ <= 0) return {};
  const std::chrono::duration<double> elapsed = Clock::now() - start_;
  const double seconds = elapsed.count() / double(steps_here_) * double(steps_left_);
  return "  about " + duration(seconds) + " left";
}

Json TrainingLog::on_checkpoint() {
  Json lengths = {{"metrics", epochs_.sync()}, {"steps", steps_.sync()}};
  if (record_) lengths["record"] = {{"file", options_.record}, {"length", record_->sync()}};
  return lengths;
}

void TrainingLog::on_resume(const Json& remembered) {
  epochs_.cut(remembered.at("metrics"));
  steps_.cut(remembered.at("steps"));
  if (!record_) return;
  // Another file, or the first one, begins with the steps from here on.
  const Json record = remembered.value("record", Json::object());
  record_->cut(
      record.value("file", "") == options_.record ? record.at("length").get<std::uint64_t>() : 0);
}

}  // namespace programs
