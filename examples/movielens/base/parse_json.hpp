// SPDX-License-Identifier: MIT
#pragma once

#include <utility>

#include <nlohmann/json.hpp>

namespace movielens {

/// \brief JSON of a file that anybody may have written: discarded (is_discarded()) if it is none,
/// or nested deeper than anything that is read here. Printing and comparing are recursive, and a
/// file of a million brackets would exhaust the stack.
/// \param input  a text or a stream
template <class Input>
[[nodiscard]] nlohmann::ordered_json parse_json(Input&& input) {
  using Value = nlohmann::ordered_json;
  constexpr int deepest = 16;
  bool is_shallow = true;
  const auto check = [&](int depth, Value::parse_event_t, Value&) {
    is_shallow = is_shallow && depth <= deepest;
    return is_shallow;
  };
  Value json = Value::parse(std::forward<Input>(input), check, /*allow_exceptions=*/false);
  return is_shallow ? std::move(json) : Value(Value::value_t::discarded);
}

}  // namespace movielens
