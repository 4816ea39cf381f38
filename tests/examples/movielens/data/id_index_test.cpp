// SPDX-License-Identifier: MIT
#include <string>

#include <movielens/data/id_index.hpp>

#include <examples/movielens/data/tables.hpp>
#include <support/catch.hpp>

using programs::movielens::test::columns;
using programs::movielens::test::refusal_of;
using programs::movielens::test::rows_in;
using programs::movielens::test::Strings;

TEST_CASE("ids: any text stays as it is", "[movielens][ids]") {
  CHECK(rows_in("-1,0,3,9\n9223372036854775808,18446744073709551617,4,9\n") ==
        Strings{"-1 0 30", "9223372036854775808 18446744073709551617 40"});
  CHECK(rows_in("7,0345,3,9\n007,345,4,9\n7,x,5,9\n") ==
        Strings{"7 x 50", "7 0345 30", "007 345 40"});
  CHECK(rows_in("1.0,v1.0,3,9\nx,v1,4,9\n") == Strings{"x v1 40", "1.0 v1.0 30"});
}

TEST_CASE("ids: numbers have one spelling", "[movielens][ids]") {
  CHECK(rows_in("1.0,10,3,9\n2.0,10.0,4,9\n") == Strings{"1 10 30", "2 10 40"});
  CHECK(rows_in("-1.0,10,3,9\n2.0,10,4,9\n") == Strings{"2 10 40", "-1 10 30"});
  CHECK(rows_in("1,10,3,9\n1.0,9,4,9\n") == Strings{"1 9 40", "1 10 30"});
  CHECK(rows_in("999;1;3\n1,000;1;4\n") == Strings{"999 1 30", "1000 1 40"});
  CHECK(rows_in("1e+05,1,3,9\n99999,1,4,9\n") == Strings{"99999 1 40", "100000 1 30"});
  CHECK_THAT(refusal_of("1,10,3,9\n1.0,10,4,9\n"),
             StartsWith(":2: user \"1\" rates item \"10\" a second time, first in line 1"));
}

TEST_CASE("ids: both encodings are one", "[movielens][ids]") {
  CHECK(rows_in("Ren\xE9,1,3,0\nRen\xC3\xA9,2,4,0\n") ==
        Strings{"Ren\xC3\xA9 1 30", "Ren\xC3\xA9 2 40"});
}

TEST_CASE("ids: what messages show of them is harmless", "[movielens][ids][error]") {
  CHECK_THAT(refusal_of("a\x7F\xC2\x9B,1,3,0\na\x7F\xC2\x9B,1,3,0\n"),
             StartsWith(":2: user \"a\xEF\xBF\xBD\xEF\xBF\xBD\" rates"));
}
