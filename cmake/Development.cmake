# SPDX-License-Identifier: MIT
# What our own tests, examples and benchmarks are built with. Never installed or exported.

add_library(comet_dev INTERFACE)
target_link_libraries(comet_dev INTERFACE comet)
target_compile_options(comet_dev INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
  -Wdouble-promotion -Wnon-virtual-dtor
  $<$<BOOL:${COMET_WERROR}>:-Werror>)
target_compile_definitions(comet_dev INTERFACE $<$<CONFIG:Debug>:_GLIBCXX_ASSERTIONS>)
# g++ 12 follows Eigen's vector stores into branches that the sizes exclude, and warns of them. The
# sanitizer builds look at the same stores while they run. Nor does it follow the inlined copies of its
# own `"text" + std::string` (-Wrestrict, GCC bug 105651).
target_compile_options(comet_dev INTERFACE
  $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds -Wno-stringop-overflow -Wno-maybe-uninitialized
                                  -Wno-restrict>)

# What tests cost is compiling them. Of a release with g++, -O1 takes 1.4 times as long as -Og, and -O3
# 1.5 times; and each saves seconds of running.
set(COMET_BRIEF_COMPILATION)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  set(COMET_BRIEF_COMPILATION $<IF:$<CXX_COMPILER_ID:GNU>,-Og,-O1>)
endif()

if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_CXX_EXTENSIONS OFF)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
  set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  if(COMET_TUNE)
    include(cmake/ReleaseFlags.cmake)
  endif()
  find_program(COMET_CCACHE ccache)
  if(COMET_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    # Without these two, ccache passes every file with a precompiled header by.
    set(CMAKE_CXX_COMPILER_LAUNCHER
        ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${COMET_CCACHE})
  endif()
endif()

# The example programs, or some of them, as the environment says for this time: not in the cache.
set(COMET_ALL_PROGRAMS movielens next_character two_pictures bert)
set(COMET_PROGRAMS ${COMET_ALL_PROGRAMS})
if(DEFINED ENV{COMET_PROGRAMS})
  set(COMET_PROGRAMS $ENV{COMET_PROGRAMS})
endif()
