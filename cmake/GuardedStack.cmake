# SPDX-License-Identifier: MIT
# guard_stack(TARGET): the programs read what others wrote, so an overrun of the stack ends them.

include_guard()
include(CheckCXXCompilerFlag)

function(guard_stack target)
  foreach(flag stack-protector-strong stack-clash-protection)
    check_cxx_compiler_flag(-f${flag} COMET_COMPILER_TAKES_${flag})
    if(COMET_COMPILER_TAKES_${flag})
      target_compile_options(${target} PRIVATE -f${flag})
    endif()
  endforeach()
endfunction()
