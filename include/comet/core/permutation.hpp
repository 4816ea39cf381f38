// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief A relabelling of experts: gate slot i sends its weight to expert pi(i).
///
/// As a matrix P with P(i, pi(i)) = 1 (row = gate slot, column = expert) it acts on the right of a
/// row of gate weights, (g P)(l) = sum_i g(i) P(i, l). Stored as n numbers, so that applying it is
/// a look-up.
class Permutation {
 public:
  /// The empty permutation of no experts.
  Permutation() = default;

  /// \param experts experts[i] is the expert of slot i; each of 0..n-1 exactly once.
  /// \throws std::invalid_argument naming the first slot whose expert is out of range or taken.
  explicit Permutation(std::vector<ExpertId> experts) : experts_(std::move(experts)) {
    std::vector<ExpertId> slot_of(experts_.size(), -1);
    for (std::size_t i = 0; i < experts_.size(); ++i) {
      const ExpertId expert = experts_[i];
      if (expert < 0 || static_cast<std::size_t>(expert) >= experts_.size()) [[unlikely]]
        detail::raise("Permutation", "the expert of slot " + std::to_string(i), expert,
                      "in 0.." + std::to_string(experts_.size() - 1));
      ExpertId& slot = slot_of[static_cast<std::size_t>(expert)];
      if (slot >= 0) [[unlikely]]
        detail::raise("Permutation", "the expert of slot " + std::to_string(i), expert,
                      "each expert once (slot " + std::to_string(slot) + " has it already)");
      slot = static_cast<ExpertId>(i);
    }
  }

  /// pi(i) = i.
  /// \throws std::invalid_argument if n < 0 or n does not fit an ExpertId
  [[nodiscard]] static Permutation identity(Index n) {
    detail::check_at_least("Permutation::identity", "n", n, 0);
    detail::check_at_most("Permutation::identity", "n", n, "the largest ExpertId",
                          std::numeric_limits<ExpertId>::max());
    Permutation result;
    result.experts_.resize(static_cast<std::size_t>(n));
    std::iota(result.experts_.begin(), result.experts_.end(), ExpertId{0});
    return result;
  }

  /// Uniform among all n! permutations, up to the quality of the generator.
  [[nodiscard]] static Permutation random(Index n, RandomKey key) {
    Permutation result = identity(n);
    key.shuffle(std::span(result.experts_));
    return result;
  }

  /// Number of experts, which is the number of slots.
  [[nodiscard]] Index size() const noexcept { return static_cast<Index>(experts_.size()); }

  /// The expert of slot i, 0 <= i < size().
  [[nodiscard]] ExpertId operator[](Index i) const noexcept {
    return experts_[static_cast<std::size_t>(i)];
  }
  /// The expert of slot i, as a function.
  [[nodiscard]] ExpertId operator()(Index i) const noexcept { return (*this)[i]; }

  /// The expert of every slot, in slot order.
  [[nodiscard]] std::span<const ExpertId> as_span() const noexcept { return experts_; }

  /// The slot of every expert: inverse()(p(i)) = i.
  [[nodiscard]] Permutation inverse() const {
    Permutation result;
    result.experts_.resize(experts_.size());
    for (std::size_t i = 0; i < experts_.size(); ++i)
      result.experts_[static_cast<std::size_t>(experts_[i])] = static_cast<ExpertId>(i);
    return result;
  }

  /// P as a dense n x n matrix, row = slot, column = expert.
  template <class S = double>
  [[nodiscard]] Matrix<S> matrix() const {
    Matrix<S> result = Matrix<S>::Zero(size(), size());
    for (Index i = 0; i < size(); ++i) result(i, (*this)[i]) = S(1);
    return result;
  }

  friend bool operator==(const Permutation&, const Permutation&) = default;

 private:
  std::vector<ExpertId> experts_;
};

/// \brief First p, then q: slot i goes to q(p(i)). Its matrix is P Q.
/// \throws std::invalid_argument if the sizes differ
[[nodiscard]] inline Permutation compose(const Permutation& p, const Permutation& q) {
  detail::check_equal("compose", "q.size()", q.size(), "p.size()", p.size());
  std::vector<ExpertId> experts(static_cast<std::size_t>(p.size()));
  for (Index i = 0; i < p.size(); ++i) experts[static_cast<std::size_t>(i)] = q[p[i]];
  return Permutation(std::move(experts));
}

}  // namespace comet
