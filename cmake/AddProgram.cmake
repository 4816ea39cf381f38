# SPDX-License-Identifier: MIT
# add_program(NAME [OWN_HEADERS] ROOM...)
# The program NAME of this folder, and NAME_lib, which it shares with its tests: the rooms, each a folder
# that compiles as one source. One file holds all searches, and would take most of the time with its room:
# commands/run.cpp is a source of its own. Precompiled headers are those of all programs but with OWN_HEADERS.

include(${PROJECT_SOURCE_DIR}/cmake/GuardedStack.cmake)

function(add_program name)
  cmake_parse_arguments(PARSE_ARGV 1 program "OWN_HEADERS" "" "")
  find_package(CLI11 REQUIRED)
  add_library(${name}_lib STATIC)
  foreach(room IN LISTS program_UNPARSED_ARGUMENTS)
    file(GLOB sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} ${room}/*.cpp)
    target_sources(${name}_lib PRIVATE ${sources})
    set_source_files_properties(${sources} PROPERTIES UNITY_GROUP ${room})
  endforeach()
  set_source_files_properties(commands/run.cpp PROPERTIES UNITY_GROUP run)
  set_target_properties(${name}_lib PROPERTIES UNITY_BUILD_MODE GROUP)
  if(program_OWN_HEADERS)
    target_precompile_headers(${name}_lib PRIVATE <Eigen/Core> <nlohmann/json.hpp>)
  else()
    target_precompile_headers(${name}_lib REUSE_FROM programs_lib)
  endif()
  target_link_libraries(${name}_lib PUBLIC programs_lib PRIVATE CLI11::CLI11)
  guard_stack(${name}_lib)

  add_executable(${name} main.cpp)
  target_link_libraries(${name} PRIVATE ${name}_lib)
endfunction()
