// SPDX-License-Identifier: MIT
#pragma once

/// \file
/// \brief Catch2, version 2 or 3, under the names of version 3 and without their namespaces.

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;  // NOLINT: version 2 has it outside the namespace
#else
#include <catch2/catch.hpp>

namespace Catch::Matchers {
inline auto ContainsSubstring(const std::string& text) { return Contains(text); }
}  // namespace Catch::Matchers
#endif

// Matchers of texts. NOLINTBEGIN: for all tests.
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::EndsWith;
using Catch::Matchers::Matches;
using Catch::Matchers::StartsWith;
// NOLINTEND
