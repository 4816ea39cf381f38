# SPDX-License-Identifier: MIT
# The flags that make Eigen fast, by compiler: they decide its speed, and not as one expects.
# Float matrix product on one Zen 4 core, GFLOP/s:
#   g++ 12     -march=x86-64-v3   95-105    -march=native   70-80
#   clang 14   -march=x86-64-v3       55    -march=native  95-100
# On Intel's processors with AVX-512 native is the faster one with g++, too (docs/performance.md).
#   COMET_TUNE=ON         x86-64-v3 for g++ where the processor has it, native for other compilers: the figures
#                         of a training can be compared with those of another processor
#   COMET_TUNE=FASTEST    the same, but native for g++ where that is faster

include(CheckCXXCompilerFlag)
include(CheckCXXSourceRuns)

set(tune -march=native)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  check_cxx_source_runs(
    "int main() { return __builtin_cpu_supports(\"avx2\") && __builtin_cpu_supports(\"fma\") ? 0 : 1; }"
    COMET_CPU_HAS_AVX2_AND_FMA)
  check_cxx_source_runs(
    "int main() { return __builtin_cpu_is(\"intel\") && __builtin_cpu_supports(\"avx512f\") ? 0 : 1; }"
    COMET_CPU_IS_INTEL_WITH_AVX512)
  if(COMET_CPU_HAS_AVX2_AND_FMA AND NOT (COMET_TUNE STREQUAL "FASTEST" AND COMET_CPU_IS_INTEL_WITH_AVX512))
    set(tune -march=x86-64-v3)
  endif()
endif()
check_cxx_compiler_flag(${tune} COMET_COMPILER_TAKES_${tune})
if(COMET_COMPILER_TAKES_${tune})
  add_compile_options(${tune})
  message(STATUS "comet: tuned with ${tune}")
endif()
