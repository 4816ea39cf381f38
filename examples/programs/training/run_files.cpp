// SPDX-License-Identifier: MIT
#include <programs/training/run_files.hpp>

#include <programs/base/files.hpp>
#include <programs/training/decision_paths.hpp>

namespace programs {
namespace {

constexpr const char* run_files[] = {result_name,  model_name, checkpoint_name,
                                     metrics_name, steps_name, decision_paths_name};

}  // namespace

void refuse_run_files(const char* flag, const std::filesystem::path& directory,
                      const std::vector<std::filesystem::path>& inputs) {
  for (const char* name : run_files) refuse_input(flag, directory / name, inputs);
}

}  // namespace programs
