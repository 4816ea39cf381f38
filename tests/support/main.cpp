// SPDX-License-Identifier: MIT
// The main function of every test program, for Catch2 version 2, which is a header. Version 3
// brings a library with one.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
