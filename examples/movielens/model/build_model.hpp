// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>

#include <comet/core/types.hpp>

#include <movielens/model/model.hpp>
#include <movielens/model/train_options.hpp>

namespace programs::movielens {

/// \brief A model as it is before training.
/// \param item_frequency  per item, how many training rows it has: a hash gate spreads items over
///                        the experts so that each serves as many rows
[[nodiscard]] Model build_model(const TrainOptions& options, Index num_users,
                                std::span<const std::int64_t> item_frequency);

}  // namespace programs::movielens
