// SPDX-License-Identifier: MIT
#include <movielens/study/search_space.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <utility>

#include <movielens/base/file_error.hpp>
#include <movielens/base/files.hpp>
#include <movielens/base/nearest.hpp>
#include <movielens/base/parse_json.hpp>

namespace movielens {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

void read_value(const Json& value, std::integral auto& target) {
  if (!value.is_number_integer()) refuse("is " + value.dump() + ", expected a whole number");
  // A larger one would wrap around; no option has any use for it.
  const bool fits = value.is_number_unsigned() ? value.get<std::uint64_t>() <= 1U << 30U
                                               : value.get<std::int64_t>() >= -(1 << 30);
  if (!fits) refuse("is " + value.dump() + ", expected a smaller number");
  value.get_to(target);
}

void read_value(const Json& value, double& target) {
  if (!value.is_number()) refuse("is " + value.dump() + ", expected a number");
  value.get_to(target);
}

void read_value(const Json& value, std::vector<double>& target) {
  if (!value.is_array() || value.size() != target.size())
    refuse("is " + value.dump() + ", expected a list of " + std::to_string(target.size()) +
           " numbers");
  for (std::size_t i = 0; i < target.size(); ++i) read_value(value[i], target[i]);
}

void read_name(const Json& value, std::string& target, const std::vector<std::string>& names) {
  if (!value.is_string()) refuse("is " + value.dump() + ", expected a name");
  value.get_to(target);
  if (std::find(names.begin(), names.end(), target) == names.end())
    refuse("is " + value.dump() + ", which is none of them" + suggestion(target, names));
}

using Setter = void (*)(TrainOptions&, const Json&);

const std::map<std::string, Setter>& setters() {
  using O = TrainOptions;
  static const std::map<std::string, Setter> all = {
      {"gate", [](O& o, const Json& v) { read_name(v, o.gate, gate_names()); }},
      {"local_search",
       [](O& o, const Json& v) { read_name(v, o.local_search, local_search_names()); }},
      {"experts", [](O& o, const Json& v) { read_value(v, o.model.num_experts); }},
      {"k", [](O& o, const Json& v) { read_value(v, o.k); }},
      {"gamma", [](O& o, const Json& v) { read_value(v, o.gamma); }},
      {"entropy", [](O& o, const Json& v) { read_value(v, o.entropy); }},
      {"task_weights", [](O& o, const Json& v) { read_value(v, o.task_weights); }},
      {"learning_rate", [](O& o, const Json& v) { read_value(v, o.learning_rate); }},
      {"batch_size", [](O& o, const Json& v) { read_value(v, o.batch_size); }},
      {"epochs", [](O& o, const Json& v) { read_value(v, o.epochs); }},
      {"patience", [](O& o, const Json& v) { read_value(v, o.patience); }},
      {"search_epochs", [](O& o, const Json& v) { read_value(v, o.search_epochs); }},
      {"search_temperatures", [](O& o, const Json& v) { read_value(v, o.search_temperatures); }},
      {"embedding_dim", [](O& o, const Json& v) { read_value(v, o.model.embedding_dim); }},
      {"expert_dim", [](O& o, const Json& v) { read_value(v, o.model.expert_dim); }},
      {"head_dim", [](O& o, const Json& v) { read_value(v, o.model.head_dim); }},
      {"dropout", [](O& o, const Json& v) { read_value(v, o.model.dropout); }},
  };
  return all;
}

/// A number that stands for a name, the same everywhere (FNV-1a).
std::uint64_t place_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace

void set_option(TrainOptions& options, const std::string& name, const Json& value) {
  const auto setter = setters().find(name);
  if (setter == setters().end()) {
    std::vector<std::string> names;
    for (const auto& [known, unused] : setters()) names.push_back(known);
    refuse("no such option" + suggestion(name, names));
  }
  setter->second(options, value);
}

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
  const Json& values = json.begin().value();
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
    if (range.kind != Kind::integer) bound = bound.get<double>();
  }
  return range;
}

SearchSpace SearchSpace::read(const std::filesystem::path& file) {
  SearchSpace space;
  space.json_ = parse_json(read_file(file));
  if (!space.json_.is_object()) throw FileError(file, "is not a JSON object");
  std::string key;
  try {
    TrainOptions options;
    for (const auto& [name, json] : space.json_.items()) {
      key = name;
      space.ranges_.push_back(range_from(name, json));
      set_option(options, name, space.ranges_.back().values.front());
    }
    // Every choice and every bound, each beside the first values of the others.
    for (const Range& range : space.ranges_) {
      key = range.name;
      for (const Json& value : range.values) {
        TrainOptions changed = options;
        set_option(changed, key, value);
        check(changed);
      }
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

TrainOptions SearchSpace::sample(TrainOptions base, comet::RandomKey key) const {
  for (const Range& range : ranges_)
    set_option(base, range.name, range.draw(key.fold(place_of(range.name))));
  base.seed = static_cast<std::int64_t>(key.fold(place_of("seed")).index(0, 1U << 31U));
  return base;
}

}  // namespace movielens
