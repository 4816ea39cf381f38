// SPDX-License-Identifier: MIT
#pragma once

/// \file
/// \brief What nearly every test includes, parsed once per build. Tests still include what they
/// use.

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <support/catch.hpp>
