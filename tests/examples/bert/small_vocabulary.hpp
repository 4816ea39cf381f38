// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <bert/data/vocabulary.hpp>

#include <support/golden.hpp>

/// \file
/// \brief A vocabulary of some two hundred pieces, and texts with what the reference makes of them.

namespace programs::bert::test {

inline comet::test::Json small_tokens() {
  const auto path = std::filesystem::path(COMET_TEST_DATA) / "bert_small_tokens.json";
  std::ifstream file(path);
  return comet::test::Json::parse(file);
}

inline Vocabulary small_vocabulary() {
  return Vocabulary(small_tokens().at("vocabulary").get<std::vector<std::string>>());
}

}  // namespace programs::bert::test
