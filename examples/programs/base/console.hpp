// SPDX-License-Identifier: MIT
#pragma once

#include <iosfwd>

namespace programs {

/// Where a command writes: results to `out`, all else to `err`.
struct Console {
  std::ostream& out;
  std::ostream& err;
  bool err_is_terminal = false;  ///< lines may be updated in place
};

}  // namespace programs
