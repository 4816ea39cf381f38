// SPDX-License-Identifier: MIT
#pragma once

#include <programs/base/json.hpp>

#include <next_character/data/text.hpp>
#include <next_character/model/model.hpp>

namespace programs::next_character {

/// \brief How the gate of a model sends a place of each kind in the text that is held out, as far
/// as there are such: a name, a number, a string. Empty if it cannot say it.
/// \see programs::decision_path
[[nodiscard]] Json decision_paths(const Model& model, const Text& text, Index window);

}  // namespace programs::next_character
