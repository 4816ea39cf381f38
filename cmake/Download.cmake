# SPDX-License-Identifier: MIT
# cmake -D URL=... -D DIR=... [-D SHA256=...] -P Download.cmake: the files of the zip archive at URL,
# without its top folder, into DIR. Gives up after seconds, not minutes: there are other sources.
if(SHA256)
  set(expected EXPECTED_HASH SHA256=${SHA256})
endif()
file(DOWNLOAD ${URL} ${DIR}/archive.zip
  STATUS status TIMEOUT 30 INACTIVITY_TIMEOUT 5 TLS_VERIFY ON ${expected})
list(GET status 0 code)
if(NOT code EQUAL 0)
  message(FATAL_ERROR "${URL}: ${status}")
endif()
file(ARCHIVE_EXTRACT INPUT ${DIR}/archive.zip DESTINATION ${DIR}/unpacked)
file(GLOB files ${DIR}/unpacked/*/*)
file(COPY ${files} DESTINATION ${DIR})
file(REMOVE_RECURSE ${DIR}/unpacked ${DIR}/archive.zip)
