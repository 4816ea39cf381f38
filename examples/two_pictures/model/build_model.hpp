// SPDX-License-Identifier: MIT
#pragma once

#include <two_pictures/model/model.hpp>
#include <two_pictures/model/train_options.hpp>

namespace programs::two_pictures {

/// \brief The model that the options describe, with the random weights of their seed.
/// \param sizes         \see model_of
/// \param num_pictures  that a gate which looks at ids may be shown
[[nodiscard]] Model build_model(const TrainOptions& options, const ModelOptions& sizes,
                                Index num_pictures);

}  // namespace programs::two_pictures
