// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <comet/gates/capabilities.hpp>
#include <comet/io/safetensors.hpp>

#include <movielens/data/dataset.hpp>
#include <movielens/model/model.hpp>
#include <movielens/model/train_options.hpp>
#include <programs/base/order.hpp>

namespace programs::movielens {

/// \brief A trained model on the disk: its parameters, and what rebuilds it and the rows it was
/// trained on.
class ModelFile {
 public:
  /// \throws comet::FileError if it is not a file of a model, or does not fit its own description
  explicit ModelFile(const std::filesystem::path& path);

  [[nodiscard]] const comet::TensorFile& file() const noexcept { return file_; }
  /// Of its training; `data` and `out` are empty.
  [[nodiscard]] const TrainOptions& options() const noexcept { return options_; }
  /// With the numbers of users and items.
  [[nodiscard]] const ModelOptions& model() const noexcept { return options_.model; }
  [[nodiscard]] const std::string& source() const noexcept { return source_; }
  /// A fingerprint of the rows of its training, \see fingerprint_of; empty in files that do not
  /// say.
  [[nodiscard]] const std::string& content() const noexcept { return content_; }
  [[nodiscard]] const Order& order() const noexcept { return order_; }
  /// Ids as the ratings have them, in the order of the embeddings.
  [[nodiscard]] const std::vector<std::string>& user_ids() const noexcept { return user_ids_; }
  [[nodiscard]] const std::vector<std::string>& item_ids() const noexcept { return item_ids_; }

  /// \brief Makes a model this one. \throws comet::FileError if their sizes or gates differ
  void load(Model& model) const;

 private:
  void check_sizes() const;

  comet::TensorFile file_;
  TrainOptions options_;
  std::string source_, content_;
  Order order_;
  std::vector<comet::GateAnnealing> annealing_;
  std::vector<std::string> user_ids_, item_ids_;
};

/// \throws comet::FileError if the model is of other users or items than the data
void check_ids(const ModelFile& file, const std::vector<std::string>& user_ids,
               const std::vector<std::string>& item_ids, const std::string& source);

/// Of the rows of all parts, those that are drawn among them.
[[nodiscard]] std::string fingerprint_of(const Dataset& data);

/// \param annealing  of its gates, where they were steered
/// \throws comet::FileError if the file cannot be written
void save_model(const std::filesystem::path& path, const Model& model, const TrainOptions& options,
                const Dataset& data, const std::vector<comet::GateAnnealing>& annealing);

}  // namespace programs::movielens
