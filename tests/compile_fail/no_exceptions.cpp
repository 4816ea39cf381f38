// SPDX-License-Identifier: MIT
// expect: comet: errors are exceptions: compile without -fno-exceptions
// flags: -fno-exceptions
#include <comet/core/types.hpp>
