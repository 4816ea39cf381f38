// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <comet/gates/capabilities.hpp>
#include <comet/io/tensor_file.hpp>

#include <bert/model/bert.hpp>
#include <bert/model/train_options.hpp>
#include <programs/base/order.hpp>

namespace programs::bert {

/// \brief A model.safetensors of a training: the weights, and all that rebuilds the model.
class ModelFile {
 public:
  /// \throws FileError if it cannot be read, is damaged, or is of something else
  explicit ModelFile(const std::filesystem::path& path);

  [[nodiscard]] const TrainOptions& options() const noexcept { return options_; }
  /// Of the dense model that it was, or was made of.
  [[nodiscard]] const BertConfig& config() const noexcept { return config_; }
  /// Of the rows and the model that it was trained on.
  [[nodiscard]] const std::string& content() const noexcept { return content_; }

  /// A fingerprint of the vocabulary whose pieces it knows; empty in files of before.
  [[nodiscard]] const std::string& vocabulary() const noexcept { return vocabulary_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return file_.path(); }

  /// The model with its weights.
  [[nodiscard]] Bert<float> model() const;
  /// \brief Loads the weights into a model of the same build. \throws FileError
  void load(Bert<float>& model) const;

 private:
  void check_sizes() const;

  comet::TensorFile file_;
  TrainOptions options_;
  BertConfig config_;
  std::string content_;
  std::string vocabulary_;
  Order order_;
  std::vector<comet::GateAnnealing> annealing_;
};

/// \param config      of the dense model that it was, or was made of
/// \param content     fingerprint of what it was trained on
/// \param vocabulary  fingerprint of the one whose pieces it knows
/// \throws FileError if it cannot be written
void save_model(const std::filesystem::path& path, const Bert<float>& model,
                const TrainOptions& options, const BertConfig& config, const std::string& content,
                const std::string& vocabulary, const std::vector<comet::GateAnnealing>& annealing);

}  // namespace programs::bert
