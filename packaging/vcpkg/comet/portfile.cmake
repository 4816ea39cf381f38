# SPDX-License-Identifier: MIT
# An overlay port that takes the sources it lies in.
cmake_path(SET SOURCE_PATH NORMALIZE "${CMAKE_CURRENT_LIST_DIR}/../../..")
set(VCPKG_BUILD_TYPE release)  # headers only

vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS
    -DCOMET_BUILD_TESTS=OFF
    -DCOMET_BUILD_EXAMPLES=OFF
    -DCOMET_BUILD_BENCHMARKS=OFF
    -DCOMET_INSTALL=ON)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/comet)
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
