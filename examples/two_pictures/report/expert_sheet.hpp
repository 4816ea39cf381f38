// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <comet/core/types.hpp>

#include <programs/report/gnuplot.hpp>

namespace programs::two_pictures {

using comet::Index;

/// \brief An example and what a model made of it; per task in the lists.
struct ShownExample {
  std::vector<float> pixels;  ///< row by row
  std::vector<std::int32_t> truth;
  std::vector<std::int32_t> answer;
  std::vector<std::string> experts;  ///< with their weights, the heaviest first
};

/// Examples on a sheet: gnuplot's pictures have 32,767 pixels a side at most.
inline constexpr Index most_on_sheet = 840;

/// \brief A sheet of examples, each with truth, answer and the experts that spoke.
/// \param names  of the classes
[[nodiscard]] Plot example_sheet(const std::vector<ShownExample>& examples, Index height,
                                 Index width, const std::vector<std::string>& names);

/// \brief The weight that each expert has for each class, as a heat map.
/// \param shares  classes x experts \param task  from 1
[[nodiscard]] Plot expert_by_class(const comet::Matrix<double>& shares, std::size_t task,
                                   const std::vector<std::string>& names);

}  // namespace programs::two_pictures
