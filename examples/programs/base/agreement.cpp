// SPDX-License-Identifier: MIT
#include <programs/base/agreement.hpp>

#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include <programs/base/version.hpp>

namespace programs {
namespace {

/// What every rank says, in their order.
std::vector<Json> said_by_all(Ranks& ranks, const Json& mine) {
  const std::string text = mine.dump();
  const auto sizes = comet::all_gather(ranks, comet::Index(text.size()));
  std::string all(std::size_t(std::accumulate(sizes.begin(), sizes.end(), comet::Index(0))), ' ');
  comet::all_gather(ranks, text, sizes, std::span(all));
  std::vector<Json> said;
  std::size_t first = 0;
  for (const comet::Index size : sizes) {
    said.push_back(parse_json(all.substr(first, std::size_t(size))));
    first += std::size_t(size);
  }
  return said;
}

/// "gate: "top_k" there, "comet" here", of the first that differs; empty if nothing does.
std::string difference(const Json& there, const Json& here) {
  const auto text = [](const Json& json, const std::string& name) {
    return json.contains(name) ? json[name].dump() : "none";
  };
  for (const Json* names : {&here, &there})
    for (const auto& [name, value] : names->items())
      if (text(there, name) != text(here, name))
        return name + ": " + text(there, name) + " there, " + text(here, name) + " here";
  return {};
}

}  // namespace

void expect_same(Ranks* ranks, const Json& mine) {
  if (ranks == nullptr) return;
  Json with_version = {{"version", version()}};
  with_version.update(mine);
  const std::vector<Json> said = said_by_all(*ranks, with_version);
  for (std::size_t r = 1; r < said.size(); ++r)
    if (const std::string other = difference(said[r], said[0]); !other.empty())
      throw std::invalid_argument("rank " + std::to_string(r) + " differs from rank 0: " + other);
}

}  // namespace programs
