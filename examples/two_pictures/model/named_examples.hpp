// SPDX-License-Identifier: MIT
#pragma once

#include <programs/base/json.hpp>
#include <two_pictures/data/dataset.hpp>
#include <two_pictures/model/model.hpp>

namespace programs::two_pictures {

/// \brief The way of the first test examples through the gates of a model, named by their classes;
/// empty if its gates cannot say. \see programs::decision_path
[[nodiscard]] Json decision_paths(const Model& model, const Dataset& data);

}  // namespace programs::two_pictures
