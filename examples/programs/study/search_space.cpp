// SPDX-License-Identifier: MIT
#include <programs/study/search_space.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/byte_fingerprint.hpp>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>
#include <programs/base/json.hpp>
#include <programs/base/nearest.hpp>

namespace programs {
namespace {

/// Of whole numbers, as of those that are named: of larger ones their count would wrap around.
constexpr std::int64_t most = std::int64_t{1} << 30U;

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

/// Sets an option by its name in a search space.
void set_option(const OptionTable& table, const std::string& name, const Json& value) {
  const std::vector<std::string> names = table.searchable();
  if (std::find(names.begin(), names.end(), name) == names.end())
    refuse("no such option" + suggestion(name, names));
  table.set(name, value);
}

/// A JSON object of a name that comes again keeps the last value: the other would be lost without a
/// word. \return the first such name, in whatever object of the text
std::optional<std::string> repeated_name(const std::string& text) {
  std::optional<std::string> repeated;
  std::vector<std::set<std::string>> open;  // names so far, of the objects we are in
  const auto look = [&](int, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start) open.emplace_back();
    if (event == Event::object_end) open.pop_back();
    if (event == Event::key && !open.back().insert(parsed.get<std::string>()).second && !repeated)
      repeated = parsed.get<std::string>();
    return true;
  };
  [[maybe_unused]] const Json json = Json::parse(text, look, /*allow_exceptions=*/false);
  return repeated;
}

/// A number that stands for a name, the same everywhere.
std::uint64_t place_of(std::string_view name) {
  return comet::detail::ByteFingerprint().add(name.data(), name.size()).value();
}

}  // namespace

SearchSpace::Range SearchSpace::range_from(const std::string& name, const Json& json) {
  if (!json.is_object()) return {.name = name, .values = {json}};
  static const std::vector<std::pair<std::string, Kind>> kinds = {
      {"categorical", Kind::categorical},
      {"uniform", Kind::uniform},
      {"log_uniform", Kind::log_uniform},
      {"integer", Kind::integer}};
  if (json.size() != 1)
    refuse("is " + json.dump() + ", expected one of categorical, uniform, log_uniform, integer");
  const std::string kind_name = json.items().begin().key();
  const auto kind = std::find_if(kinds.begin(), kinds.end(),
                                 [&](const auto& known) { return known.first == kind_name; });
  if (kind == kinds.end())
    refuse("is " + in_quotes(kind_name) +
           ", expected one of categorical, uniform, log_uniform, integer");
  const Json& values = json.at(kind_name);
  Range range{.name = name, .kind = kind->second, .values = {}};
  if (values.is_array()) range.values.assign(values.begin(), values.end());
  if (range.kind == Kind::categorical) {
    if (range.values.empty()) refuse(kind_name + " is " + values.dump() + ", expected some values");
    return range;
  }
  const bool two_numbers =
      range.values.size() == 2 && range.values[0].is_number() && range.values[1].is_number();
  if (!two_numbers || !(range.values[0] <= range.values[1]))
    refuse(kind_name + " is " + values.dump() + ", expected [lowest, highest]");
  if (range.kind == Kind::log_uniform && !(range.values[0] > 0))
    refuse(kind_name + " is " + values.dump() + ", expected bounds > 0");
  for (Json& bound : range.values) {
    if (range.kind == Kind::integer && !bound.is_number_integer())
      refuse(kind_name + " is " + values.dump() + ", expected whole numbers");
    if (range.kind == Kind::integer && std::abs(bound.get<double>()) > double(most))
      refuse(kind_name + " is " + values.dump() + ", expected bounds from -" +
             std::to_string(most) + " to " + std::to_string(most));
    if (range.kind != Kind::integer) bound = bound.get<double>();
  }
  return range;
}

SearchSpace SearchSpace::read(const std::filesystem::path& file, const OptionTable& table) {
  SearchSpace space;
  const std::string text = read_file(file);
  space.json_ = parse_json(text);
  if (!space.json_.is_object()) throw FileError(file, "is not a JSON object");
  if (const auto name = repeated_name(text))
    throw FileError(file, in_quotes(*name) + ": is there twice, expected once");
  std::string key;
  try {
    for (const auto& [name, json] : space.json_.items()) {
      key = name;
      space.ranges_.push_back(range_from(name, json));
      set_option(table, name, space.ranges_.back().values.front());
    }
    // Every choice and every bound, each beside the first values of the others.
    for (const Range& range : space.ranges_) {
      key = range.name;
      for (const Json& value : range.values) {
        table.set(key, value);
        table.check();
      }
      table.set(key, range.values.front());
    }
  } catch (const std::invalid_argument& error) {
    throw FileError(file, in_quotes(key) + ": " + error.what());
  }
  return space;
}

Json SearchSpace::Range::draw(comet::RandomKey key) const {
  if (kind == Kind::categorical)
    return values[static_cast<std::size_t>(key.index(0, values.size()))];
  if (kind == Kind::integer) {
    const auto low = values[0].get<std::int64_t>();
    const auto count = static_cast<std::uint64_t>(values[1].get<std::int64_t>() - low + 1);
    return low + static_cast<std::int64_t>(key.index(0, count));
  }
  const double low = values[0];
  const double high = values[1];
  if (kind == Kind::uniform) return key.uniform(0, low, high);
  // Rounding may lead beyond an end.
  return std::clamp(std::exp(key.uniform(0, std::log(low), std::log(high))), low, high);
}

Json SearchSpace::sample(comet::RandomKey key) const {
  Json options = Json::object();
  for (const Range& range : ranges_)
    options[range.name] = range.draw(key.fold(place_of(range.name)));
  options["seed"] = key.fold(place_of("seed")).index(0, 1U << 31U);
  return options;
}

}  // namespace programs
