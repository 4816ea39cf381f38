// SPDX-License-Identifier: MIT
#include <programs/study/trials.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <tuple>

#include <programs/base/file_error.hpp>
#include <programs/base/file_lock.hpp>
#include <programs/base/files.hpp>
#include <programs/base/json.hpp>

namespace programs {
namespace {

/// JSON has no infinity and no nan: a loss that is not finite is null, and as bad as can be.
double loss_in(const Json& json) {
  return json.is_null() ? std::numeric_limits<double>::infinity() : json.get<double>();
}

Trial trial_from(const Json& json) {
  Trial trial;
  trial.number = json.at("trial");
  if (json.contains("rung")) trial.rung = json.at("rung").get<int>();
  trial.source = json.at("source");
  trial.content = json.value("content", "");
  trial.options = json.at("options");
  (void)trial.gate();
  (void)trial.local_search();
  if (json.contains("failure")) {
    trial.failure = json.at("failure");
    trial.validation_loss = trial.test_loss = std::numeric_limits<double>::infinity();
    return trial;
  }
  trial.epochs = json.at("epochs");
  trial.best_epoch = json.at("best_epoch");
  trial.validation_loss = loss_in(json.at("validation").at("loss"));
  trial.experts_per_sample = json.at("validation").at("experts_per_sample");
  trial.test_loss = loss_in(json.at("test").at("loss"));
  for (const auto& [name, value] : json.at("test").items())
    if (name != "loss")
      trial.test_measures.push_back({.name = name, .value = loss_in(value), .is_headline = true});
  trial.seconds = json.at("seconds");
  return trial;
}

}  // namespace

Json to_json(const Trial& trial) {
  Json json = {{"trial", trial.number}};
  if (trial.rung) json["rung"] = *trial.rung;
  json["source"] = trial.source;
  if (!trial.content.empty()) json["content"] = trial.content;
  json["options"] = trial.options;
  if (!trial.failure.empty()) {
    json["failure"] = trial.failure;
    return json;
  }
  json["epochs"] = trial.epochs;
  json["best_epoch"] = trial.best_epoch;
  json["validation"] = {{"loss", trial.validation_loss},
                        {"experts_per_sample", trial.experts_per_sample}};
  json["test"] = {{"loss", trial.test_loss}};
  for (const Measure& measure : trial.test_measures) json["test"][measure.name] = measure.value;
  json["seconds"] = trial.seconds;
  return json;
}

std::vector<Trial> read_trials(const std::filesystem::path& file) {
  const std::string content = read_file(file);
  std::vector<Trial> trials;
  std::string_view rest = content;
  for (std::size_t line = 1; rest.find('\n') != std::string_view::npos; ++line) {
    const std::string_view text = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(text.size() + 1);
    try {
      trials.push_back(trial_from(parse_json(text)));
    } catch (const Json::exception&) {
      throw FileError(file, line, "is not a trial: " + in_quotes(text));
    }
  }
  return trials;
}

void append_trial(const std::filesystem::path& file, const Trial& trial) {
  const FileLock lock = FileLock::wait_for(file);
  const std::string content = read_file(file);
  const std::size_t whole = content.rfind('\n') + 1;  // 0 if there is none
  if (whole != content.size()) std::filesystem::resize_file(file, whole);
  LineLog(file, LineLog::Open::append).append(to_json(trial).dump());
}

std::vector<Trial> ranked(std::span<const Trial> trials) {
  std::vector<Trial> result;
  std::copy_if(trials.begin(), trials.end(), std::back_inserter(result),
               [](const Trial& trial) { return !trial.rung; });
  std::sort(result.begin(), result.end(), [](const Trial& a, const Trial& b) {
    return std::tie(a.validation_loss, a.number) < std::tie(b.validation_loss, b.number);
  });
  return result;
}

std::size_t best_share(std::size_t trials) {
  return std::max<std::size_t>(
      1, static_cast<std::size_t>(std::lround(0.05 * static_cast<double>(trials))));
}

std::vector<Trial> pareto_front(std::span<const Trial> ranked) {
  // To the two digits that tables have: rows that print alike are no choice.
  const auto shown = [](const Trial& trial) { return std::lround(100 * trial.experts_per_sample); };
  std::vector<Trial> front;
  for (const Trial& trial : ranked)
    if (trial.failure.empty() && (front.empty() || shown(trial) < shown(front.back())))
      front.push_back(trial);
  return front;
}

MeanAndError mean_and_error(std::span<const double> values) {
  const auto count = static_cast<double>(values.size());
  MeanAndError result;
  for (const double value : values) result.mean += value / count;
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  result.error = std::sqrt(squares / (count - 1) / count);
  return result;
}

}  // namespace programs
