// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <comet/gates/capabilities.hpp>
#include <comet/io/safetensors.hpp>

#include <programs/base/order.hpp>
#include <two_pictures/data/dataset.hpp>
#include <two_pictures/model/model.hpp>
#include <two_pictures/model/train_options.hpp>

namespace programs::two_pictures {

/// \brief A model.safetensors of a training: the weights, and all that rebuilds the model.
class ModelFile {
 public:
  /// \throws FileError if it cannot be read, is damaged, or is of something else
  explicit ModelFile(const std::filesystem::path& path);

  /// Of its training; where the pictures are is not among them.
  [[nodiscard]] const TrainOptions& options() const noexcept { return options_; }

  /// A fingerprint of the pictures of its training; empty in files that do not say it.
  [[nodiscard]] const std::string& content() const noexcept { return content_; }

  /// The model with its weights.
  [[nodiscard]] Model model() const;
  /// \brief Loads the weights into a model of the same options. \throws FileError
  void load(Model& model) const;
  /// \brief Refuses pictures of another size, or of more classes. \throws FileError
  void check_examples(const Dataset& data) const;

 private:
  void check_sizes() const;

  comet::TensorFile file_;
  TrainOptions options_;
  ModelOptions sizes_;
  Index num_pictures_ = 0;
  std::string content_;
  Order order_;
  std::vector<comet::GateAnnealing> annealing_;
};

/// \throws FileError if it cannot be written
void save_model(const std::filesystem::path& path, const Model& model, const TrainOptions& options,
                const Dataset& data, const std::vector<comet::GateAnnealing>& annealing);

}  // namespace programs::two_pictures
