// SPDX-License-Identifier: MIT
#pragma once

#include <ostream>
#include <vector>

#include <comet/metrics/calibration.hpp>

#include <movielens/data/two_task.hpp>
#include <movielens/model/predictor.hpp>
#include <programs/base/figures.hpp>
#include <programs/base/json.hpp>

namespace programs::movielens {

/// Everything there is to say of a model on some rows.
struct Assessment {
  Figures figures;
  double accuracy = 0;  ///< of "watched": the side of 1/2 that the probability is on
  std::vector<comet::CalibrationBin> calibration;
  std::vector<double> coverage;  ///< per task, share of the experts that any row goes to
};

[[nodiscard]] Assessment assess(Predictor& predictor, const TwoTaskRows& rows);

[[nodiscard]] Json to_json(const Assessment& assessment);
void print(const Assessment& assessment, std::ostream& out);

}  // namespace programs::movielens
