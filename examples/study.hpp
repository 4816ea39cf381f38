// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

/// \file
/// \brief What studies over seeds share: their command line and their statistics.

namespace study {

/// How many seeds, and how many steps with each.
struct Size {
  int seeds = 20;
  int steps = 0;
};

/// \param flag   of the option
/// \throws std::invalid_argument for what is no whole number >= 1
inline int count_from(std::string_view flag, std::string_view text) {
  int count = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || rest != text.data() + text.size() || count < 1)
    throw std::invalid_argument(std::string(flag) + " is \"" + std::string(text) +
                                "\", expected a whole number from 1 to " +
                                std::to_string(std::numeric_limits<int>::max()));
  return count;
}

/// \param words  of the command line
/// \param size   by default
/// \throws std::invalid_argument naming what is wrong
inline Size size_from(std::span<const char* const> words, Size size) {
  for (std::size_t i = 0; i < words.size(); i += 2) {
    const std::string flag = words[i];
    if (flag != "--seeds" && flag != "--steps")
      throw std::invalid_argument("unknown option " + flag + ", expected --seeds N or --steps N");
    if (i + 1 == words.size()) throw std::invalid_argument(flag + " has no value");
    (flag == "--seeds" ? size.seeds : size.steps) = count_from(flag, words[i + 1]);
  }
  return size;
}

/// Runs a study, or ends with 2 and a line that says what is wrong with the command line.
/// \param name  of the program
/// \param run   run(seeds, steps)
template <class Run>
int run_study(const char* name, int argc, char** argv, Size by_default, Run run) {
  Size size;
  try {
    size = size_from(std::span<const char* const>(argv, std::size_t(argc)).subspan(1), by_default);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 2;
  }
  run(size.seeds, size.steps);
  return 0;
}

/// Probability of at least `wins` of `pairs` if either outcome of a pair were as likely.
inline double sign_test(int wins, int pairs) {
  double sum = 0;
  for (int w = wins; w <= pairs; ++w)
    sum += std::exp(std::lgamma(pairs + 1.0) - std::lgamma(w + 1.0) - std::lgamma(pairs - w + 1.0) -
                    pairs * std::log(2.0));
  return std::min(sum, 1.0);
}

/// \param values  at least one
inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

}  // namespace study
