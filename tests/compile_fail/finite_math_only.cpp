// SPDX-License-Identifier: MIT
// expect: comet: -ffast-math (-ffinite-math-only) removes the checks for nan and infinity
// flags: -ffinite-math-only
#include <comet/core/types.hpp>
