// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// From slots to experts: one permutation for all selectors of a gate, or one for each. Slot i k +
/// j is expert i of selector j.
class Relabelling {
 public:
  /// The identity.
  Relabelling(Index num_experts, Index num_selectors)
      : num_experts_(num_experts),
        num_selectors_(num_selectors),
        permutations_{Permutation::identity(num_experts)} {
    store();
  }

  [[nodiscard]] const std::vector<Permutation>& permutations() const noexcept {
    return permutations_;
  }
  [[nodiscard]] bool is_shared() const noexcept { return permutations_.size() == 1; }

  /// \throws std::invalid_argument if there are neither 1 nor num_selectors, or a size is not n
  void assign(std::string_view where, std::span<const Permutation> list) {
    if (list.size() != 1 && Index(list.size()) != num_selectors_) [[unlikely]]
      raise(where, "number of permutations", list.size(),
            "1 or num_selectors = " + std::to_string(num_selectors_));
    for (const Permutation& p : list)
      check_equal(where, "permutation.size()", p.size(), "num_experts", num_experts_);
    permutations_.assign(list.begin(), list.end());
    store();
  }

  /// Of a slot of all selectors together, or of one of them if they have permutations of their own.
  /// \throws std::invalid_argument if there is no such slot
  [[nodiscard]] ExpertId expert_of(ExpertId slot) const {
    check_slot(slot, is_shared() ? num_experts_ : num_slots());
    if (is_shared()) return permutations_.front()[slot];
    const auto selectors = ExpertId(num_selectors_);
    return permutations_[std::size_t(slot % selectors)][slot / selectors];
  }
  /// Where a slot of one selector goes among the slots.
  [[nodiscard]] ExpertId slot_of(ExpertId slot) const {
    check_slot(slot, num_slots());
    const auto selectors = ExpertId(num_selectors_);
    const ExpertId j = slot % selectors;
    return of_selector(permutations_, j)[slot / selectors] * selectors + j;
  }

  /// These, then others; none leaves them as they are.
  [[nodiscard]] std::vector<Permutation> composed(std::span<const Permutation> then) const {
    if (then.empty()) return permutations_;
    std::vector<Permutation> list;
    const auto count = Index(std::max(permutations_.size(), then.size()));
    for (Index j = 0; j < count; ++j)
      list.push_back(compose(of_selector(permutations_, j), of_selector(then, j)));
    return list;
  }

  /// \throws std::invalid_argument unless there is one number per expert and one permutation
  [[nodiscard]] std::vector<Index> load_of_slots(std::string_view where,
                                                 std::span<const Index> load) const {
    check_equal(where, "load.size()", Index(load.size()), "num_experts", num_experts_);
    if (!is_shared())
      raise(where, "an expert's load belongs to no slot: each selector has its own permutation");
    std::vector<Index> of_slots(load.size());
    for (Index slot = 0; slot < num_experts_; ++slot)
      of_slots[std::size_t(slot)] = load[std::size_t(permutations_.front()[slot])];
    return of_slots;
  }

  /// The same as numbers: num_selectors times n experts, -1 from the second permutation on if it is
  /// shared. Whoever has changed them calls restored().
  [[nodiscard]] std::span<ExpertId> numbers() noexcept { return numbers_; }
  [[nodiscard]] std::span<const ExpertId> numbers() const noexcept { return numbers_; }
  /// \throws std::invalid_argument if the numbers are no permutations
  void restored() {
    const bool shared = num_selectors_ == 1 || numbers_[std::size_t(num_experts_)] == -1;
    std::vector<Permutation> list;
    for (Index j = 0; j < (shared ? 1 : num_selectors_); ++j) {
      const auto first = numbers_.begin() + j * num_experts_;
      list.emplace_back(std::vector<ExpertId>(first, first + num_experts_));
    }
    permutations_ = std::move(list);
    store();
  }

 private:
  [[nodiscard]] Index num_slots() const { return num_selectors_ * num_experts_; }
  static void check_slot(ExpertId slot, Index num_slots) {
    check_index("PermutedGate: the gate inside", "an expert of its rows", slot, "number of slots",
                num_slots);
  }
  static const Permutation& of_selector(std::span<const Permutation> list, Index j) {
    return list[list.size() > 1 ? std::size_t(j) : 0];
  }

  void store() {
    numbers_.assign(std::size_t(num_selectors_ * num_experts_), -1);
    auto place = numbers_.begin();
    for (const Permutation& p : permutations_)
      place = std::copy(p.as_span().begin(), p.as_span().end(), place);
  }

  Index num_experts_;
  Index num_selectors_;
  std::vector<Permutation> permutations_;  // 1 or num_selectors
  std::vector<ExpertId> numbers_;
};

}  // namespace comet::detail
