// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>

#include <next_character/data/text.hpp>
#include <next_character/model/train_options.hpp>
#include <programs/base/console.hpp>
#include <programs/study/tuner.hpp>

namespace programs::next_character {

/// The model on a text. Nothing of it is owned.
class CharacterTrainee : public Trainee {
 public:
  CharacterTrainee(const TrainOptions& defaults, const Text& text, const Console& console)
      : defaults_(defaults), text_(text), console_(console) {}

  [[nodiscard]] std::string source() const override { return text_.source; }
  [[nodiscard]] Json options_with(const Json& changes) const override;
  [[nodiscard]] TrainingResult train(const Json& changes,
                                     const std::filesystem::path& out) const override;

 private:
  [[nodiscard]] TrainOptions changed(const Json& changes) const;

  const TrainOptions& defaults_;
  const Text& text_;
  const Console& console_;
};

}  // namespace programs::next_character
