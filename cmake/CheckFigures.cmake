# SPDX-License-Identifier: MIT
# cmake -D PROGRAM=... -D ARGUMENTS=... -D TEXT=... -D AT_MOST=... -P CheckFigures.cmake: trains on a small
# text of one sentence, written to TEXT, and fails unless the figures that AT_MOST names, "label=bound;...",
# are printed and not above their bounds. PROGRAM and ARGUMENTS are lists.
string(REPEAT "the mixture of experts sends each token to one of eight experts\n" 200 text)
file(WRITE ${TEXT} "${text}")
execute_process(COMMAND ${PROGRAM} ${TEXT} ${ARGUMENTS}
                OUTPUT_VARIABLE printed ERROR_VARIABLE progress RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} ended with ${status}\n${printed}${progress}")
endif()
foreach(line IN LISTS AT_MOST)
  string(REGEX MATCH "^(.*)=(.*)$" matched "${line}")
  set(label "${CMAKE_MATCH_1}")
  set(bound "${CMAKE_MATCH_2}")
  string(REGEX MATCH "${label} +([0-9. ]+)\n" matched "${printed}")
  string(REPLACE " " ";" figures "${CMAKE_MATCH_1}")
  if(NOT matched)
    message(FATAL_ERROR "${PROGRAM} did not print \"${label}\":\n${printed}${progress}")
  endif()
  foreach(figure IN LISTS figures)
    if(NOT figure LESS_EQUAL bound)
      message(FATAL_ERROR "${label}: ${figure} is above ${bound}\n${printed}${progress}")
    endif()
  endforeach()
endforeach()
