// SPDX-License-Identifier: MIT
#include <movielens/data/id_index.hpp>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <tuple>

#include <movielens/data/numbers.hpp>
#include <programs/base/utf8.hpp>

namespace programs::movielens {

std::int32_t IdIndex::number_of(std::string_view text) {
  if (!ids_.empty() && ids_[static_cast<std::size_t>(last_)] == text) return last_;
  return last_ = find_or_add(text);
}

std::int32_t IdIndex::find_or_add(std::string_view text) {
  if (const auto found = numbers_.find(text); found != numbers_.end()) return found->second;
  const std::string id = to_utf8(text);
  if (id != text)
    if (const auto found = numbers_.find(id); found != numbers_.end()) return found->second;
  const auto number = static_cast<std::int32_t>(ids_.size());
  ids_.push_back(id);
  numbers_.emplace(id, number);
  return number;
}

std::pair<std::vector<std::string>, std::vector<std::int32_t>> IdIndex::sorted() && {
  spell_alike(ids_);
  std::vector<std::int32_t> order(ids_.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [this](std::int32_t a, std::int32_t b) {
    const std::string& left = ids_[static_cast<std::size_t>(a)];
    const std::string& right = ids_[static_cast<std::size_t>(b)];
    return std::tuple(left.size(), std::string_view(left)) <
           std::tuple(right.size(), std::string_view(right));
  });
  std::vector<std::string> ids;
  std::vector<std::int32_t> final_number(ids_.size());
  ids.reserve(ids_.size());
  for (const std::int32_t number : order) {
    const auto provisional = static_cast<std::size_t>(number);
    if (ids.empty() || ids.back() != ids_[provisional]) ids.push_back(std::move(ids_[provisional]));
    final_number[provisional] = static_cast<std::int32_t>(ids.size()) - 1;
  }
  return {std::move(ids), std::move(final_number)};
}

bool spell_alike(std::vector<std::string>& ids) {
  const auto is_digits = [](const std::string& id) {
    return id.find_first_not_of("0123456789") == std::string::npos;
  };
  if (std::all_of(ids.begin(), ids.end(), is_digits)) return false;
  std::vector<std::string> numbers;
  numbers.reserve(ids.size());
  for (const std::string& id : ids) {
    auto number = whole_number_in(id);
    if (!number) return false;
    numbers.push_back(*std::move(number));
  }
  ids = std::move(numbers);
  return true;
}

}  // namespace programs::movielens
