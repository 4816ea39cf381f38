// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include <movielens/data/numbers.hpp>

#include <support/catch.hpp>

using programs::movielens::has_thousands_separators;
using programs::movielens::is_ambiguous_number;
using programs::movielens::number_in;
using programs::movielens::shown;
using programs::movielens::whole_number_in;

TEST_CASE("number_in: what is a number", "[movielens][numbers]") {
  CHECK(number_in("3.5") == 3.5F);
  CHECK(number_in("3,5") == 3.5F);
  CHECK(number_in("-3,5") == -3.5F);
  CHECK(number_in("+3") == 3.0F);
  CHECK(number_in("3.") == 3.0F);
  CHECK(number_in(".5") == 0.5F);
  CHECK(number_in("1e2") == 100.0F);
  CHECK(number_in("1e-99") == 0.0F);
  CHECK(number_in("0003") == 3.0F);
  CHECK(std::isnan(number_in("nan").value_or(0)));
  for (const char* text : {"", "x", "3x", "3 ", "1e99", "1,2,3", "1.2,3", "+-3", "++3", ",", ".",
                           "1,", "1,x", "0x10", "5/5", "- 3", "+", "-"}) {
    CAPTURE(text);
    CHECK(!number_in(text));
  }
  CHECK(!number_in(std::string(100, '9')));
  CHECK(!number_in(std::string(100, ',')));
}

TEST_CASE("thousands separators", "[movielens][numbers]") {
  for (const char* text :
       {"1,234", "-1,234", "12,345,678", "1.234", "1 234", "1'234.5", "1.234,5", "1,234.56",
        "1\xC2\xA0"
        "234"}) {
    CAPTURE(text);
    CHECK(has_thousands_separators(text));
  }
  for (const char* text :
       {"", "1", "1,23", "1234,567", "0,123", "1,2345", "a,234", "1,234,56", "1,"}) {
    CAPTURE(text);
    CHECK(!has_thousands_separators(text));
  }
  CHECK(is_ambiguous_number("1,250"));
  CHECK(is_ambiguous_number("-999,999"));
  CHECK(!is_ambiguous_number("1,25"));
  CHECK(!is_ambiguous_number("1.250"));
}

TEST_CASE("whole_number_in: one spelling for all", "[movielens][numbers]") {
  CHECK(whole_number_in("12") == "12");
  CHECK(whole_number_in("012") == "012");
  CHECK(whole_number_in("12.0") == "12");
  CHECK(whole_number_in("12.000") == "12");
  CHECK(whole_number_in("1,234") == "1234");
  CHECK(whole_number_in("1e+05") == "100000");
  CHECK(whole_number_in("-1.0") == "-1");
  CHECK(whole_number_in("99999999999999999999") == "99999999999999999999");
  for (const char* text :
       {"", "-", "--1", "1.5", "1.", ".0", "x", "1,23", "1e+99", "1e5x", "1e+", "9.78e+12"}) {
    CAPTURE(text);
    CHECK(!whole_number_in(text));
  }
}

TEST_CASE("shown: numbers for people", "[movielens][numbers]") {
  CHECK(shown(0.5F) == "0.5");
  CHECK(shown(-10) == "-10");
  CHECK(shown(1000000) == "1000000");
  CHECK(shown(0) == "0");
  CHECK(shown(0.1F) == "0.1");
  CHECK(shown(std::numeric_limits<float>::max()) == "3.4028235e+38");
  CHECK(programs::movielens::counted(1, "row") == "1 row");
  CHECK(programs::movielens::counted(2, "row") == "2 rows");
}
