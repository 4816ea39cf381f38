// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include <programs/base/option.hpp>

namespace programs {

/// \brief Files, and perhaps a folder, that a training reads; some names may be empty.
/// \tparam Options  the program's, for `table_of` of its namespace, and `files_read` if it reads
///                  more than data and a model to start from
template <class Options>
[[nodiscard]] std::vector<std::filesystem::path> training_inputs(Options options) {
  std::vector<std::filesystem::path> inputs = {
      *std::get<std::string*>(table_of(options)["data"].place), options.from_pretrained};
  if constexpr (requires { files_read(options); })
    for (const std::filesystem::path& file : files_read(options)) inputs.push_back(file);
  return inputs;
}

}  // namespace programs
