// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <movielens/base/figures.hpp>
#include <movielens/data/two_task.hpp>
#include <movielens/model/model_file.hpp>

namespace movielens {

/// \brief What a model says of some rows.
struct Predictions {
  std::vector<double> logits;  ///< of "watched"
  std::vector<double> stars;
};

/// \brief A trained model, whatever its gates.
class Predictor {
 public:
  virtual ~Predictor() = default;

  [[nodiscard]] virtual Predictions predict(const TwoTaskRows& rows) = 0;
  /// The figures of a split, and what they are made of.
  [[nodiscard]] virtual Figures evaluate(const TwoTaskRows& rows, Predictions& predictions) = 0;
  /// Writes, per task, the experts that a pair was sent to with their weights, and for COMET gates
  /// the path through the splits of each tree.
  virtual void explain(std::int32_t user, std::int32_t item, std::ostream& out) = 0;
};

[[nodiscard]] std::unique_ptr<Predictor> open_predictor(const ModelFile& file);

}  // namespace movielens
