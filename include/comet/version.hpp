// SPDX-License-Identifier: MIT
#pragma once

/// \file
/// \brief The version, to compare in the preprocessor: `#if COMET_VERSION >= 100  // 0.1.0`.
///
/// CMake refuses to configure when these numbers and `project(comet VERSION ...)` differ.

/// A change breaks programs.
#define COMET_VERSION_MAJOR 0
/// While the major version is 0, a change may break programs.
#define COMET_VERSION_MINOR 1
/// A change breaks nothing.
#define COMET_VERSION_PATCH 0
/// The version as one number that compares: MMmmpp.
#define COMET_VERSION \
  (COMET_VERSION_MAJOR * 10000 + COMET_VERSION_MINOR * 100 + COMET_VERSION_PATCH)
