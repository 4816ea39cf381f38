// SPDX-License-Identifier: MIT
#pragma once

#include <programs/base/json.hpp>

#include <movielens/data/dataset.hpp>
#include <movielens/data/titles.hpp>
#include <movielens/model/model.hpp>

namespace programs::movielens {

/// \brief How the gates of a model send a few held-out ratings, by user and title: of the films
/// that are rated most often, one each. Empty if a gate cannot say it.
/// \see programs::decision_path
[[nodiscard]] Json decision_paths(const Model& model, const Dataset& data, const Titles& titles);

}  // namespace programs::movielens
