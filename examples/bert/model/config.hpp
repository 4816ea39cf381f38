// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>

#include <comet/core/types.hpp>

#include <programs/base/json.hpp>

namespace programs::bert {

using comet::Index;

/// \brief The sizes of a BERT, as its config.json has them.
struct BertConfig {
  Index vocab = 0;         ///< pieces
  Index hidden = 0;        ///< numbers for each token
  Index layers = 0;        ///< of the encoder
  Index heads = 0;         ///< of an attention; they share `hidden` evenly
  Index intermediate = 0;  ///< units of a feed-forward block
  Index positions = 0;     ///< tokens of the longest sentence
  Index types = 2;         ///< of tokens: of a first and of a second text
  Index labels = 2;        ///< classes; 1 for a number
  double epsilon = 1e-12;  ///< of the layer norms

  friend bool operator==(const BertConfig&, const BertConfig&) = default;
};

/// \brief Reads a config.json as pretrained models bring it. How many labels there are, it does not
/// say.
/// \throws FileError if the file cannot be read, is no JSON, lacks a size or has an impossible one,
///         or describes another kind of model
[[nodiscard]] BertConfig read_config(const std::filesystem::path& file);

/// \throws std::invalid_argument naming a size that cannot be
void check(const BertConfig& config);

/// In the words of config.json, and back.
[[nodiscard]] Json to_json(const BertConfig& config);
/// \throws Json::exception or std::invalid_argument for what is none
[[nodiscard]] BertConfig config_from(const Json& json);

}  // namespace programs::bert
