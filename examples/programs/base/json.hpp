// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

#include <nlohmann/json.hpp>

namespace programs {

using Json = nlohmann::ordered_json;

/// \brief JSON of a file that anybody may have written: discarded (is_discarded()) if it is none,
/// or nested deeper than anything that is read here. Printing and comparing are recursive, and a
/// file of a million brackets would exhaust the stack.
/// \param input  a text or a stream
template <class Input>
[[nodiscard]] Json parse_json(Input&& input) {
  constexpr int deepest = 16;
  bool is_shallow = true;
  const auto check = [&](int depth, Json::parse_event_t, Json&) {
    is_shallow = is_shallow && depth <= deepest;
    return is_shallow;
  };
  Json json = Json::parse(std::forward<Input>(input), check, /*allow_exceptions=*/false);
  return is_shallow ? std::move(json) : Json(Json::value_t::discarded);
}

}  // namespace programs
