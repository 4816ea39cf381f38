// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <comet/core/byte_fingerprint.hpp>
#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/types.hpp>
#include <comet/distributed/collectives.hpp>
#include <comet/distributed/communicator.hpp>

/// \file
/// \brief Which tensors of a model every rank has, and which one alone.

namespace comet {

/// \brief A part of which a rank has something alone: the first num_own_tensors() of the tensors
/// that it visits. The others, and those of parts of any other kind, are on all ranks.
template <class P>
concept OwnsTensors = Parametric<P> && requires(const P& part) {
  { part.num_own_tensors() } -> std::convertible_to<Index>;
};

namespace detail {

/// Calls f(own) for every tensor of a model, in visiting order: whether it is this rank's alone.
template <class Part, class F>
void for_each_ownership(const Part& part, F& f) {
  if constexpr (std::ranges::range<Part> && !is_parameter<Part>) {
    for (const auto& each : part) for_each_ownership(each, f);
  } else if constexpr (is_parameter<Part>) {
    f(false);
  } else if constexpr (OwnsTensors<Part>) {
    const Index own = part.num_own_tensors(), all = count_tensors(part);
    for (Index i = 0; i < all; ++i) f(i < own);
  } else if constexpr (Parametric<Part>) {
    part.visit([&f](const ParameterName&, const auto& child) { for_each_ownership(child, f); });
  }
}

}  // namespace detail

/// \brief Per tensor of a model, in visiting order: 1 if it is this rank's alone, 0 if every rank
/// has it.
template <class Model>
[[nodiscard]] std::vector<std::uint8_t> own_tensors(const Model& model) {
  std::vector<std::uint8_t> own;
  const auto add = [&own](bool is_own) { own.push_back(std::uint8_t(is_own)); };
  detail::for_each_ownership(model, add);
  return own;
}

/// \brief Checks that the state of a part, or of the parts of a range, is the same on every rank,
/// to the bit: permutations and biases of gates, say. A part without state passes.
/// \throws std::invalid_argument on every rank, naming the first that differs
template <Communicator C, class Part>
void check_replicated_state(C& world, const Part& part,
                            std::string_view where = "check_replicated_state") {
  detail::ByteFingerprint print;
  const auto add = [&print](const auto& each) {
    if constexpr (detail::has_state<std::remove_cvref_t<decltype(each)>>())
      each.visit_state([&print](const ParameterName& name, auto values) {
        const std::string text = name.str();
        print.add(text.data(), text.size());
        print.add(values.data(), values.size_bytes());
      });
  };
  if constexpr (std::ranges::range<Part>) {
    for (const auto& each : part) add(each);
  } else {
    add(part);
  }
  const auto all = all_gather(world, print.value());
  for (std::size_t r = 1; r < all.size(); ++r)
    if (all[r] != all[0]) [[unlikely]]
      detail::raise(where, "the state of rank " + std::to_string(r) + " is not that of rank 0");
}

/// \brief Checks that what every rank has of a model is the same on every rank, to the bit: after
/// it was made, or loaded.
/// \throws std::invalid_argument on every rank, naming the first tensor that differs and the ranks
/// \par Cost  one pass over the parameters, 8 bytes a tensor and rank
template <Communicator C, class Model>
void check_replicated(C& world, const Model& model, std::string_view where = "check_replicated") {
  const auto own = own_tensors(model);
  std::vector<std::uint64_t> prints;
  std::vector<std::string> names;
  std::size_t tensor = 0;
  for_each_parameter(model, [&](const ParameterName& name, const auto& values) {
    if (own[tensor++] != 0) return;
    const std::string text = name.str();
    detail::ByteFingerprint print;
    print.add(text.data(), text.size());
    print.add(values.data(), std::size_t(values.size()) * sizeof(*values.data()));
    prints.push_back(print.value());
    names.push_back(text);
  });
  const auto sizes = all_gather(world, Index(prints.size()));
  for (std::size_t r = 1; r < sizes.size(); ++r)
    detail::check_equal(where, "the number of tensors that rank " + std::to_string(r) + " shares",
                        sizes[r], "that of rank 0", sizes[0]);
  std::vector<std::uint64_t> all(prints.size() * sizes.size());
  all_gather(world, prints, sizes, std::span(all));
  for (std::size_t r = 1; r < sizes.size(); ++r)
    for (std::size_t i = 0; i < names.size(); ++i)
      if (all[r * names.size() + i] != all[i]) [[unlikely]]
        detail::raise(where, names[i] + " of rank " + std::to_string(r) +
                                 " is not that of rank 0: parts that every rank has are made with "
                                 "the same options and the same key");
}

}  // namespace comet
