// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/types.hpp>

namespace programs::two_pictures {

using comet::Index;

struct ModelOptions {
  Index height = 0;  ///< of the canvas, in pixels
  Index width = 0;
  Index num_tasks = 2;
  Index num_classes = 10;
  Index num_experts = 6;
  Index filters = 10;         ///< of an expert's first convolution
  Index second_filters = 20;  ///< of its second one
  Index kernel = 5;           ///< pixels a side of a filter
  Index expert_dim = 50;      ///< units of an expert's dense layers
  Index head_dim = 50;        ///< units of a task's dense layers
};

}  // namespace programs::two_pictures
