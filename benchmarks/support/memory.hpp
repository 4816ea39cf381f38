// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace bench {

/// Bytes of the heap in use; 0 where nobody tells.
inline std::size_t allocated_bytes() {
#if defined(__GLIBC__)
  const auto heap = mallinfo2();
  return heap.uordblks + heap.hblkhd;
#else
  return 0;
#endif
}

}  // namespace bench
