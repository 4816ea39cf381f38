// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>

#include <programs/base/console.hpp>
#include <programs/base/json.hpp>
#include <programs/base/option.hpp>
#include <programs/study/tuner.hpp>

namespace programs {

/// \brief A program's training as a tuner sees it. Nothing of it is owned.
/// \tparam Options  the program's: `table_of`, `to_json`, `run` and, if there is one,
/// `check_fits` of its namespace take them
/// \tparam Data     the program's: `run`, `fingerprint_of` and `check_fits` take them; has `source`
template <class Options, class Data>
class RunTrainee : public Trainee {
 public:
  RunTrainee(const Options& defaults, const Data& data, const Console& console)
      : defaults_(defaults), data_(data), content_(fingerprint_of(data)), console_(console) {}

  [[nodiscard]] std::string source() const override { return data_.source; }
  [[nodiscard]] std::string content() const override { return content_; }
  [[nodiscard]] Json options_with(const Json& changes) const override {
    return to_json(changed(changes));
  }
  [[nodiscard]] TrainingResult train(const Json& changes,
                                     const std::filesystem::path& out) const override {
    Options options = changed(changes);
    options.out = out.string();
    options.quiet = true;
    return run(options, data_, console_).training;
  }

 private:
  [[nodiscard]] Options changed(const Json& changes) const {
    Options options = defaults_;
    const OptionTable table = table_of(options);
    table.set(changes);
    table.check();
    if constexpr (requires { check_fits(options, data_); }) check_fits(options, data_);
    return options;
  }

  const Options& defaults_;
  const Data& data_;
  std::string content_;
  const Console& console_;
};

}  // namespace programs
