# SPDX-License-Identifier: MIT
# The target `docs`: guide and reference as HTML in BUILD/docs/html, readable offline. A public symbol
# without documentation is an error.
find_package(Doxygen QUIET)
if(DOXYGEN_FOUND)
  configure_file(docs/Doxyfile.in Doxyfile @ONLY)
  add_custom_target(docs
    COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/docs
    COMMAND ${DOXYGEN_EXECUTABLE} ${PROJECT_BINARY_DIR}/Doxyfile
    COMMENT "Reference in docs/html/index.html" VERBATIM)
endif()
