// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <charconv>
#include <cstdlib>
#include <limits>
#include <string>

#include <comet/core/number_text.hpp>

using comet::detail::number_text;

TEST_CASE("number_text: the shortest text that reads back, and every format of to_chars",
          "[core][text]") {
  CHECK(number_text(0.1) == "0.1");
  CHECK(number_text(0.1F) == "0.1");
  CHECK(number_text(1234567) == "1234567");
  CHECK(number_text(-0.0) == "-0");
  CHECK(number_text(10.0, std::chars_format::hex) == "1.4p+3");
  CHECK(number_text(2.345, std::chars_format::fixed, 1) == "2.3");
  for (const double value : {1.0 / 3, 5e-324, -std::numeric_limits<double>::max()}) {
    CHECK(std::strtod(number_text(value).c_str(), nullptr) == value);
    CHECK(std::strtod(number_text(value, std::chars_format::fixed, 0).c_str(), nullptr) ==
          (value < -1 ? value : 0));
  }
}
