# SPDX-License-Identifier: MIT
# cmake -D SOURCE=... -D FOLDER=... -D COMPILER=... -P build_type.cmake: who configures comet by itself and
# names no build type gets Release, whatever is built; a project around it keeps its own.
function(expect_build_type expected source)
  file(REMOVE_RECURSE ${FOLDER})
  set(ENV{CMAKE_BUILD_TYPE})
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${source} -B ${FOLDER} -D CMAKE_CXX_COMPILER=${COMPILER} ${ARGN}
    RESULT_VARIABLE status OUTPUT_VARIABLE printed ERROR_VARIABLE printed)
  file(STRINGS ${FOLDER}/CMakeCache.txt found REGEX "^CMAKE_BUILD_TYPE:")
  if(NOT status EQUAL 0 OR NOT found STREQUAL "CMAKE_BUILD_TYPE:STRING=${expected}")
    message(FATAL_ERROR "${source} ${ARGN}: ${found}, expected ${expected}\n${printed}")
  endif()
endfunction()

set(headers -D COMET_BUILD_TESTS=OFF -D COMET_BUILD_EXAMPLES=OFF)
expect_build_type(Release ${SOURCE} ${headers})
expect_build_type(Release ${SOURCE} -D COMET_BUILD_TESTS=OFF)
expect_build_type(Release ${SOURCE} -D COMET_BUILD_EXAMPLES=OFF)
expect_build_type(Release ${SOURCE} ${headers} -D CMAKE_BUILD_TYPE=)
expect_build_type(Debug ${SOURCE} ${headers} -D CMAKE_BUILD_TYPE=Debug)
expect_build_type("" ${CMAKE_CURRENT_LIST_DIR}/exporting -D COMET_SOURCE=${SOURCE})

# With several configurations in one tree, it is the one that is built if none is named.
find_program(ninja ninja)
if(ninja)
  file(REMOVE_RECURSE ${FOLDER})
  execute_process(COMMAND ${CMAKE_COMMAND} -G "Ninja Multi-Config" -S ${SOURCE} -B ${FOLDER}
    -D CMAKE_CXX_COMPILER=${COMPILER} ${headers} COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)
  file(STRINGS ${FOLDER}/build.ninja found REGEX "impl-Release.ninja")
  if(NOT found)
    message(FATAL_ERROR "Ninja Multi-Config does not build Release by default")
  endif()
endif()
