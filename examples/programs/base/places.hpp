// SPDX-License-Identifier: MIT
#pragma once

/// \file
/// \brief What a run draws from its seed, numbered: RandomKey(seed).fold(place).

namespace programs::places {

inline constexpr int data = 0;
inline constexpr int model = 1;
inline constexpr int gates = 2;
inline constexpr int training = 3;
inline constexpr int search = 4;

}  // namespace programs::places
