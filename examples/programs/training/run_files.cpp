// SPDX-License-Identifier: MIT
#include <programs/training/run_files.hpp>

#include <stdexcept>
#include <string>
#include <system_error>

#include <programs/base/file_error.hpp>
#include <programs/training/decision_paths.hpp>

namespace programs {
namespace {

constexpr const char* run_files[] = {result_name,  model_name, checkpoint_name,
                                     metrics_name, steps_name, decision_paths_name};

}  // namespace

void refuse_run_files(const char* flag, const std::filesystem::path& directory,
                      const Inputs& inputs) {
  refuse_inputs(flag, directory, run_files, inputs);
}

void refuse_as_record(const std::filesystem::path& record, const std::filesystem::path& directory) {
  if (record.empty()) return;
  std::error_code none;
  const auto same = [&](const std::filesystem::path& a, const std::filesystem::path& b) {
    // Neither need be there yet.
    return std::filesystem::equivalent(a, b, none) || real_path(a) == real_path(b);
  };
  for (const char* name : run_files)
    if (same(record, directory / name))
      throw std::invalid_argument("--record is " + in_quotes(record.string()) + ", which is " +
                                  name + " of the training in " + in_quotes(directory.string()) +
                                  ", expected another file");
}

}  // namespace programs
