// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>

/// \file
/// \brief Counts every allocation of a program, whoever makes it: operator new and Eigen's products
/// both end in malloc. Include in one file of a program.

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COMET_TEST_SANITIZER
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COMET_TEST_SANITIZER
#endif

namespace comet::test {

inline std::atomic<long> allocations{0};

#if defined(COMET_TEST_SANITIZER)
inline constexpr bool can_count_allocations = true;
}  // namespace comet::test

// The sanitizers' own allocator calls a hook.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*,
                                                                  std::size_t),
                                                         void (*)(const volatile void*));

namespace comet::test {
inline const int installed_hooks = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, std::size_t) { allocations.fetch_add(1, std::memory_order_relaxed); },
    [](const volatile void*) {});
#elif defined(__GLIBC__)
inline constexpr bool can_count_allocations = true;
}  // namespace comet::test

extern "C" void* __libc_malloc(std::size_t);
extern "C" void* __libc_memalign(std::size_t, std::size_t);
extern "C" void* malloc(std::size_t size) noexcept {
  comet::test::allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  comet::test::allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_memalign(alignment, size);
}

namespace comet::test {
#else
inline constexpr bool can_count_allocations = false;
#endif

/// Number of allocations that a call makes.
template <class Call>
[[nodiscard]] long count_allocations(Call call) {
  const long before = allocations.load();
  call();
  return allocations.load() - before;
}

}  // namespace comet::test
