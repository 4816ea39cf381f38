// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <stdexcept>

#include <programs/base/common_options.hpp>

namespace programs {

/// \brief A training whose numbers ran away: where, and what to try, in one line.
class Diverged : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// \brief In the user's words: the library names the tensor that it saw first, which is up to
/// chance.
/// \param steps  that were done
[[nodiscard]] Diverged diverged(const CommonOptions& options, int epoch, std::int64_t steps);

}  // namespace programs
