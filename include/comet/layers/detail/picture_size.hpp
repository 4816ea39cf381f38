// SPDX-License-Identifier: MIT
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// \brief That the product of some sizes, each at least 1, is below 2^60: so many numbers have a
/// count of bytes, and two such counts can be added.
inline void check_product(std::string_view where, std::string_view name,
                          std::initializer_list<Index> sizes) {
  constexpr Index bound = Index(1) << 60;
  Index product = 1;
  bool fits = true;
  for (const Index size : sizes)
    fits = fits && !__builtin_mul_overflow(product, size, &product) && product < bound;
  if (fits) [[likely]]
    return;
  std::string factors;
  for (const Index size : sizes) factors += (factors.empty() ? "" : " * ") + std::to_string(size);
  raise(where, name, factors, "below 2^60");
}

}  // namespace comet::detail
