// SPDX-License-Identifier: MIT
#pragma once

#include <iosfwd>

namespace programs {

class Ranks;

/// Where a command writes, results to `out`, all else to `err`; and who works on it.
struct Console {
  std::ostream& out;
  std::ostream& err;
  bool err_is_terminal = false;  ///< lines may be updated in place
  Ranks* ranks = nullptr;        ///< of which this process is one, not owned; null if it is alone
};

}  // namespace programs
