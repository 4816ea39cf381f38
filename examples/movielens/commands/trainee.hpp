// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>

#include <movielens/data/dataset.hpp>
#include <movielens/model/train_options.hpp>
#include <programs/base/console.hpp>
#include <programs/study/tuner.hpp>

namespace programs::movielens {

/// The two-task model on ratings. Nothing of it is owned.
class TwoTaskTrainee : public Trainee {
 public:
  TwoTaskTrainee(const TrainOptions& defaults, const Dataset& data, const Console& console)
      : defaults_(defaults), data_(data), console_(console) {}

  [[nodiscard]] std::string source() const override { return data_.source; }
  [[nodiscard]] Json options_with(const Json& changes) const override;
  [[nodiscard]] TrainingResult train(const Json& changes,
                                     const std::filesystem::path& out) const override;

 private:
  [[nodiscard]] TrainOptions changed(const Json& changes) const;

  const TrainOptions& defaults_;
  const Dataset& data_;
  const Console& console_;
};

}  // namespace programs::movielens
