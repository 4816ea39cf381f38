# SPDX-License-Identifier: MIT
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir ${CMAKE_INSTALL_DATADIR}/cmake/comet)

target_include_directories(comet INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
install(DIRECTORY include/comet DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/comet)

install(TARGETS comet EXPORT comet_targets)
install(EXPORT comet_targets NAMESPACE comet:: FILE comet-targets.cmake DESTINATION ${package_dir})
# Files of their own: they can be loaded only where nlohmann_json, MPI or LibTorch is found.
if(TARGET comet_safetensors)
  install(TARGETS comet_safetensors EXPORT comet_safetensors_targets)
  install(EXPORT comet_safetensors_targets NAMESPACE comet:: FILE comet-safetensors-targets.cmake
          DESTINATION ${package_dir})
endif()
if(TARGET comet_mpi)
  install(TARGETS comet_mpi EXPORT comet_mpi_targets)
  install(EXPORT comet_mpi_targets NAMESPACE comet:: FILE comet-mpi-targets.cmake
          DESTINATION ${package_dir})
endif()
if(TARGET comet_libtorch)
  install(TARGETS comet_libtorch EXPORT comet_libtorch_targets)
  install(EXPORT comet_libtorch_targets NAMESPACE comet:: FILE comet-libtorch-targets.cmake
          DESTINATION ${package_dir})
endif()
# So is the compiled part: headers alone suit every machine and are found wherever they are unpacked.
set(any_machine ARCH_INDEPENDENT)
if(COMET_BUILD_INSTANCES)
  install(TARGETS comet_instances EXPORT comet_instances_targets
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT comet_instances_targets NAMESPACE comet:: FILE comet-instances-targets.cmake
          DESTINATION ${package_dir})
  set(any_machine "")
endif()

configure_package_config_file(cmake/comet-config.cmake.in comet-config.cmake
  INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(comet-config-version.cmake
  COMPATIBILITY SameMinorVersion ${any_machine})
install(FILES ${PROJECT_BINARY_DIR}/comet-config.cmake ${PROJECT_BINARY_DIR}/comet-config-version.cmake
        DESTINATION ${package_dir})

# For builds without CMake: `pkg-config --cflags --libs comet`.
configure_file(cmake/comet.pc.in comet.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/comet.pc DESTINATION ${CMAKE_INSTALL_DATADIR}/pkgconfig)

# `cpack -G DEB` in the build directory: libcomet-dev, headers and package files, and the compiled part
# if it was asked for.
set(CPACK_PACKAGE_NAME libcomet-dev)
set(CPACK_PACKAGE_VENDOR comet)
set(CPACK_PACKAGE_CONTACT "comet developers")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
if(any_machine)
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE all)
endif()
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libeigen3-dev (>= 3.4), libeigen3-dev (<< 6)")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS nlohmann-json3-dev)
if(PROJECT_IS_TOP_LEVEL)
  include(CPack)
endif()
