// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <comet/gates/capabilities.hpp>
#include <comet/io/safetensors.hpp>

#include <next_character/data/text.hpp>
#include <next_character/model/model.hpp>
#include <next_character/model/train_options.hpp>
#include <programs/base/order.hpp>

namespace programs::next_character {

/// \brief A model.safetensors of a training: the weights, and all that rebuilds the model.
class ModelFile {
 public:
  /// \throws FileError if it cannot be read, is damaged, or is of something else
  explicit ModelFile(const std::filesystem::path& path);

  [[nodiscard]] const TrainOptions& options() const noexcept { return options_; }
  [[nodiscard]] const Alphabet& alphabet() const noexcept { return alphabet_; }
  /// Of the text it was trained on.
  [[nodiscard]] const std::string& source() const noexcept { return source_; }

  /// Its fingerprint; empty in files that do not say it.
  [[nodiscard]] const std::string& content() const noexcept { return content_; }

  /// The model with its weights.
  [[nodiscard]] Model model() const;
  /// \brief Loads the weights into a model of the same options. \throws FileError
  void load(Model& model) const;
  /// \brief Refuses a text of other characters. \throws FileError
  void check_alphabet(const Text& text) const;

 private:
  void check_sizes() const;

  comet::TensorFile file_;
  TrainOptions options_;
  std::string source_, content_;
  Alphabet alphabet_;
  Order order_;
  std::vector<comet::GateAnnealing> annealing_;
};

/// \throws FileError if it cannot be written
void save_model(const std::filesystem::path& path, const Model& model, const TrainOptions& options,
                const Text& text, const std::vector<comet::GateAnnealing>& annealing);

}  // namespace programs::next_character
