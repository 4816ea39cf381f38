// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include <programs/base/figures.hpp>
#include <programs/base/gate_load.hpp>
#include <two_pictures/data/batches.hpp>
#include <two_pictures/model/answers.hpp>
#include <two_pictures/model/model.hpp>

namespace programs::two_pictures {

/// \brief How the experts of a task share out a class: rows of weights that add up to 1.
using ShareByClass = std::vector<std::vector<double>>;

/// \brief Predicts a whole split and scores it.
class Evaluator {
 public:
  Evaluator(const Examples& examples, std::size_t batch_size);

  /// \throws comet::NotFinite for a model that has diverged
  Figures evaluate(const Model& model, Model::Pass& pass);

  /// Of the last evaluate(), per task.
  [[nodiscard]] const std::vector<Answers>& answers() const { return answers_; }
  /// \brief Of the last evaluate(), per task: by class of its picture, the weight of each expert.
  [[nodiscard]] const std::vector<ShareByClass>& share_by_class() const { return share_; }
  /// \brief Of the last evaluate(), per task: what a sample's class tells about its experts, in
  /// nats.
  [[nodiscard]] std::vector<double> class_information() const;

 private:
  void count(const Model& model, const Model::Pass& pass, const Batch& batch);

  const Examples* examples_;
  Batches batches_;
  std::vector<Answers> answers_;     // per task
  std::vector<GateLoad> loads_;      // per task
  std::vector<ShareByClass> share_;  // per task, sums until evaluate() ends
  double multiply_adds_ = 0;
};

}  // namespace programs::two_pictures
