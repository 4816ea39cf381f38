// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <exception>
#include <span>
#include <stdexcept>

#include <comet/distributed/collectives.hpp>

#include <programs/base/json.hpp>
#include <programs/base/ranks.hpp>

/// \file
/// \brief What ranks have to be of one mind about. Every function is a call of all of them; a
/// process that is alone agrees with itself.

namespace programs {

/// \brief Checks that every rank says the same of itself, beginning with the program's version.
/// \param mine  an object
/// \throws std::invalid_argument on every rank, naming the first that differs and in what
void expect_same(Ranks* ranks, const Json& mine);

/// Whether it is so on any rank.
[[nodiscard]] inline bool any_rank(Ranks* ranks, bool here) {
  return ranks == nullptr ? here : comet::sum_over_ranks(*ranks, std::int32_t(here)) > 0;
}

/// \brief Does on the rank that speaks what is done once: files are written by it alone.
/// \throws what f throws; std::invalid_argument on all other ranks then
template <class F>
void do_once(Ranks* ranks, F f) {
  std::exception_ptr failure;
  if (speaks(ranks)) {
    try {
      f();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  auto failed = std::uint8_t(failure != nullptr);
  if (ranks != nullptr) comet::broadcast(*ranks, std::span(&failed, 1), 0);
  if (failure) std::rethrow_exception(failure);
  if (failed != 0) throw std::invalid_argument("rank 0 cannot go on");
}

}  // namespace programs
