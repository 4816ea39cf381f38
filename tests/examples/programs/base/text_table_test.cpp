// SPDX-License-Identifier: MIT
#include <programs/base/text_table.hpp>

#include <support/catch.hpp>

using programs::duration;

TEST_CASE("duration: to the second, then to the minute", "[programs][text_table]") {
  CHECK(duration(0.4) == "0 s");
  CHECK(duration(59.4) == "59 s");
  CHECK(duration(59.6) == "1 min");
  CHECK(duration(3569) == "59 min");
  CHECK(duration(3570) == "1 h 0 min");
  CHECK(duration(3600) == "1 h 0 min");
  CHECK(duration(7199) == "2 h 0 min");
  CHECK(duration(7290) == "2 h 2 min");
}
