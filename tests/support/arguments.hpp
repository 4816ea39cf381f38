// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

namespace comet::test {

/// Arguments in which an option that comes again takes the place of the one before, so that a test
/// can have its own: a program refuses it.
inline std::vector<std::string> last_of_each(const std::vector<std::string>& all) {
  std::vector<std::vector<std::string>>
      groups;  // an option with its value, or a word before all options
  for (const std::string& argument : all) {
    const bool is_value =
        !groups.empty() && groups.back().front().starts_with("--") && !argument.starts_with("--");
    if (is_value) {
      groups.back().push_back(argument);
      continue;
    }
    const std::string name = argument.substr(0, argument.find('='));
    if (name.starts_with("--"))
      std::erase_if(groups, [&](const auto& group) {
        return group.front().substr(0, group.front().find('=')) == name;
      });
    groups.push_back({argument});
  }
  std::vector<std::string> result;
  for (const auto& group : groups) result.insert(result.end(), group.begin(), group.end());
  return result;
}

}  // namespace comet::test
