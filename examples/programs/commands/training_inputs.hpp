// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <variant>

#include <programs/base/files.hpp>
#include <programs/base/option.hpp>

namespace programs {

/// \brief What a training reads: files, and perhaps a folder.
/// \tparam Options  the program's, for `table_of` of its namespace, `files_read` if it reads more
///                  than data and a model to start from, and `takes_in` if all files of a folder
///                  are its data
template <class Options>
[[nodiscard]] Inputs training_inputs(const Options& options) {
  Options copy = options;
  Inputs inputs = {
      {*std::get<std::string*>(table_of(copy)["data"].place), options.from_pretrained}};
  if constexpr (requires { files_read(options); })
    for (const std::filesystem::path& file : files_read(options)) inputs.paths.push_back(file);
  if constexpr (requires { takes_in(options, std::filesystem::path()); })
    inputs.take_in = [options](const std::filesystem::path& file) {
      return takes_in(options, file);
    };
  return inputs;
}

}  // namespace programs
