# SPDX-License-Identifier: MIT
# cmake -D DOCUMENT=... -D "QUOTED=FILE;..." -P CheckQuoted.cmake: fails unless the document contains
# every file, apart from a licence line, word for word.
file(READ ${DOCUMENT} document)
foreach(file IN LISTS QUOTED)
  file(READ ${file} text)
  string(REGEX REPLACE "^// SPDX[^\n]*\n" "" text "${text}")
  string(FIND "${document}" "${text}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "${DOCUMENT} does not show ${file} as it is")
  endif()
endforeach()
