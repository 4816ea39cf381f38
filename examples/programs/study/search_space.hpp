// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <comet/core/random.hpp>

#include <programs/base/json.hpp>
#include <programs/base/option.hpp>

namespace programs {

/// \brief Which values the options of a training may take in a search, from a JSON object.
///
///     {
///       "gate": "comet",                                  a fixed value
///       "gamma": {"categorical": [0.01, 0.1, 1, 5, 10]},  one of them
///       "learning_rate": {"log_uniform": [5e-5, 5e-4]},   its logarithm is uniform
///       "dropout": {"uniform": [0, 0.5]},
///       "search_epochs": {"integer": [1, 10]}             both ends included
///     }
///
/// Names are those of the options with `_` for `-`, as result.json has them; `seed` and
/// `split_seed` are not among them, they belong to the search.
class SearchSpace {
 public:
  /// \param table  of the options, at their defaults; their values are tried, and not put back
  /// \throws FileError naming the file and the key, for an unknown key, a value of the wrong kind,
  ///         bounds out of order, and values that the table refuses
  [[nodiscard]] static SearchSpace read(const std::filesystem::path& file,
                                        const OptionTable& table);

  /// \brief What the space says of a trial, and a seed of its own: a JSON object of options.
  ///
  /// Every option draws from a key of its own name, so a trial is the same whatever was drawn
  /// before and whatever else is in the space: two spaces with the same learning rates give trial i
  /// the same one.
  /// \param key  of the trial: RandomKey(seed).fold(trial)
  [[nodiscard]] Json sample(comet::RandomKey key) const;

  /// Whether the space says something of an option.
  [[nodiscard]] bool contains(const std::string& name) const { return json_.contains(name); }

  /// As it was read.
  [[nodiscard]] const Json& json() const noexcept { return json_; }

 private:
  enum class Kind { categorical, uniform, log_uniform, integer };

  /// The values of an option. A fixed value is a choice of one.
  struct Range {
    std::string name;
    Kind kind = Kind::categorical;
    std::vector<Json> values;  // the choices, or the two bounds

    [[nodiscard]] Json draw(comet::RandomKey key) const;
  };

  [[nodiscard]] static Range range_from(const std::string& name, const Json& json);

  Json json_;
  std::vector<Range> ranges_;
};

}  // namespace programs
