// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <comet/version.hpp>

namespace programs {

/// "0.1.0".
[[nodiscard]] inline std::string version() {
  return std::to_string(COMET_VERSION_MAJOR) + "." + std::to_string(COMET_VERSION_MINOR) + "." +
         std::to_string(COMET_VERSION_PATCH);
}

}  // namespace programs
