// SPDX-License-Identifier: MIT
#pragma once

/// \file
/// \brief Catch2, version 2 or 3, under the names that both share.

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;  // NOLINT: version 2 has it outside the namespace
#else
#include <catch2/catch.hpp>
#endif
