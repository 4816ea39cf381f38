// SPDX-License-Identifier: MIT
#include <ostream>

#include <movielens/run_gate.hpp>

namespace movielens {
namespace {

constexpr const char* erase_to_end = "\x1b[K";

}  // namespace

void TrainingLog::on_batch(int epoch, std::size_t done, std::size_t batches, const Loss& loss) {
  const auto now = std::chrono::steady_clock::now();
  if (options_.quiet || !console_.err_is_terminal || now < next_update_) return;
  next_update_ = now + std::chrono::milliseconds(200);
  console_.err << "\repoch " << epoch << '/' << options_.epochs << "  batch " << done << '/'
               << batches << "  training loss " << loss.total << erase_to_end << std::flush;
}

void TrainingLog::on_epoch(const EpochReport& report) {
  file_.append(to_json(report).dump());
  if (options_.quiet) return;
  if (console_.err_is_terminal) console_.err << '\r';
  console_.err << progress_line(report, options_.epochs)
               << (console_.err_is_terminal ? erase_to_end : "") << std::endl;
}

}  // namespace movielens
