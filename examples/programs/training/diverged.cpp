// SPDX-License-Identifier: MIT
#include <programs/training/diverged.hpp>

#include <string>

#include <programs/base/text_table.hpp>

namespace programs {

Diverged diverged(const CommonOptions& options, int epoch, std::int64_t steps) {
  const std::string place = "after step " + std::to_string(steps) +
                            (options.steps > 0 ? "" : ", in epoch " + std::to_string(epoch));
  return Diverged("the training diverged " + place + ": its loss is not finite; try a smaller " +
                  formatted("--learning-rate than %g", options.learning_rate));
}

}  // namespace programs
