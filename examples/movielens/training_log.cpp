// SPDX-License-Identifier: MIT
#include <cstdint>
#include <ostream>

#include <movielens/run_gate.hpp>

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

}  // namespace movielens
