// SPDX-License-Identifier: MIT
// expect: comet: -ffast-math (-ffinite-math-only) removes the checks for nan and infinity
// flags: -ffast-math
#include <comet/core/types.hpp>
