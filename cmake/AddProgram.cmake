# SPDX-License-Identifier: MIT
# add_program(NAME ROOM...)
# The program NAME of this folder, and NAME_lib, which it shares with its tests: the rooms, each a folder
# that compiles as one source. One file holds all searches, and would take most of the time with its room:
# commands/run.cpp is a source of its own.

include(${PROJECT_SOURCE_DIR}/cmake/GuardedStack.cmake)

function(add_program name)
  find_package(CLI11 REQUIRED)
  add_library(${name}_lib STATIC)
  foreach(room IN LISTS ARGN)
    file(GLOB sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} ${room}/*.cpp)
    target_sources(${name}_lib PRIVATE ${sources})
    set_source_files_properties(${sources} PROPERTIES UNITY_GROUP ${room})
  endforeach()
  set_source_files_properties(commands/run.cpp PROPERTIES UNITY_GROUP run)
  set_target_properties(${name}_lib PROPERTIES UNITY_BUILD_MODE GROUP)
  target_precompile_headers(${name}_lib REUSE_FROM programs_lib)
  target_link_libraries(${name}_lib PUBLIC programs_lib PRIVATE CLI11::CLI11)
  guard_stack(${name}_lib)

  add_executable(${name} main.cpp)
  target_link_libraries(${name} PRIVATE ${name}_lib)
endfunction()
