// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <comet/core/random.hpp>

#include <next_character/data/alphabet.hpp>
#include <next_character/model/model.hpp>

namespace programs::next_character {

struct WriterOptions {
  double temperature = 1;  ///< that logits are divided by; 0 takes the likeliest character
};

/// \brief Writes text, character after character, each drawn from what the model says.
class Writer {
 public:
  /// \param model, alphabet  not owned
  Writer(const Model& model, const Alphabet& alphabet, Index window, WriterOptions options);

  /// \brief What follows a beginning: so many characters. A beginning that is shorter than the
  /// window stands behind empty lines.
  /// \param key  the text is a function of it
  [[nodiscard]] std::string write(std::string_view beginning, std::size_t length, RandomKey key);

 private:
  [[nodiscard]] Symbol draw(const ConstMatrixView<float>& logits, double uniform);

  const Model& model_;
  const Alphabet& alphabet_;
  std::size_t window_;
  WriterOptions options_;
  Model::Pass pass_;
  std::vector<double> shares_;
};

}  // namespace programs::next_character
