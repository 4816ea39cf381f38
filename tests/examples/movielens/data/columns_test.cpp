// SPDX-License-Identifier: MIT
#include <string>

#include <movielens/data/columns.hpp>

#include <examples/movielens/data/tables.hpp>
#include <support/catch.hpp>

using programs::movielens::test::columns;
using programs::movielens::test::notes_on;
using programs::movielens::test::refusal_of;
using programs::movielens::test::rows_in;
using programs::movielens::test::Strings;

TEST_CASE("--columns: names or numbers, in any order", "[movielens][columns]") {
  const std::string with_names =
      "when,Score,book,reader\n1,-3.5,\"War, and Peace\",Ann\n2,40,Emma,Ann\n3,0,Emma,Bo\n";
  const Strings rows = {"Bo Emma 0", "Ann Emma 400", "Ann War, and Peace -35"};
  CHECK(rows_in(with_names, columns({"reader", "book", "score"})) == rows);
  CHECK(rows_in(with_names, columns({" Reader", "BOOK ", "name:Score"})) == rows);
  CHECK(rows_in(with_names, columns({"4", "3", "2"})) == rows);
  CHECK(rows_in(with_names, columns({"4", "book", "02"})) == rows);
  CHECK(rows_in("1|-3.5|War, and Peace|Ann\n2|40|Emma|Ann\n3|0|Emma|Bo\n",
                columns({"4", "3", "2"})) == rows);
}

TEST_CASE("--columns: digits are a place, whatever the first line holds", "[movielens][columns]") {
  // Its values are those of the argument, in another order.
  CHECK(rows_in("3,1,2\n4,5,6\n", columns({"1", "2", "3"})) == Strings{"3 1 20", "4 5 60"});
  CHECK(rows_in("2,3,1\n2,4,5\n", columns({"1", "2", "3"})) == Strings{"2 3 10", "2 4 50"});
}

TEST_CASE("--columns: name: is for columns named by a number", "[movielens][columns]") {
  const std::string table = "3,1,2\na,b,5\nc,d,7\n";
  CHECK(rows_in(table, columns({"name:3", "name:1", "name:2"})) == Strings{"a b 50", "c d 70"});
  CHECK(rows_in("name:u,i,r\na,b,5\nc,d,7\n", columns({"name:name:u", "i", "r"})) ==
        Strings{"a b 50", "c d 70"});
}

TEST_CASE("--columns: case counts only where it has to", "[movielens][columns]") {
  CHECK(rows_in("R,r,i\na,5,b\n", columns({"R", "i", "r"})) == Strings{"a b 50"});
  CHECK(refusal_of("U,r,i,R\na,5,b,4\n", columns({"u", "i", "r"})) == "accepted");
  CHECK(refusal_of("u,RR,i,Rr\na,5,b,4\n", columns({"u", "i", "rr"})) ==
        "--columns: 2 columns are named \"rr\": give its number, from 1 to 4");
  CHECK(refusal_of("u,i,r,r\na,5,b,4\n", columns({"u", "i", "r"})) ==
        "--columns: 2 columns are named \"r\": give its number, from 1 to 4");
}

TEST_CASE("--columns: three, and each of the table", "[movielens][columns][error]") {
  const std::string table = "u,i,r\na,b,5\n";
  CHECK(refusal_of(table, columns({"u", "i", "i"})) ==
        "--columns: \"i\" is there twice; user, item and rating are three columns");
  CHECK(refusal_of(table, columns({"2", "1", "2"})) ==
        "--columns: \"2\" is there twice; user, item and rating are three columns");
  const std::string same = " are the same column; user, item and rating are three";
  CHECK(refusal_of(table, columns({"u", "i", "I"})) == "--columns: \"i\" and \"I\"" + same);
  CHECK(refusal_of(table, columns({"u", "2", "i"})) == "--columns: \"2\" and \"i\"" + same);
  CHECK(refusal_of(table, columns({"1", "2", "02"})) == "--columns: \"2\" and \"02\"" + same);
  CHECK(refusal_of(table, columns({"u", "t", "r"})) ==
        "--columns: no column \"t\", the first line has \"u\", \"i\", \"r\"");
  CHECK(refusal_of("1,2,3\n", columns({"u", "i", "r"})) ==
        "--columns: no column \"u\", the first line has \"1\", \"2\", \"3\"");
  CHECK(refusal_of(table, columns({"1", "2", "4"})) == "--columns: no column 4, the table has 3");
  CHECK(refusal_of(table, columns({"1", "2", "99999999999999999999999"})) ==
        "--columns: no column 99999999999999999999999, the table has 3");
  CHECK(refusal_of(table, columns({"0", "1", "2"})) ==
        "--columns: no column 0, they are counted from 1");
  CHECK(refusal_of(table, columns({"-1", "1", "2"})) ==
        "--columns: no column \"-1\", the first line has \"u\", \"i\", \"r\"");
  CHECK(refusal_of(table, columns({"u", "", "r"})) == "--columns: one of the names is empty");
  CHECK(refusal_of(table, columns({"u", "name:", "r"})) == "--columns: one of the names is empty");
  CHECK(refusal_of(table, columns({"u", "i"})) ==
        "--columns: expected three, those of user, item and rating, not 2");
}

TEST_CASE("--columns by number: the first line is a row if it has a number",
          "[movielens][columns]") {
  const auto numbers = columns({"1", "2", "3"});
  CHECK(rows_in("ann,tea,4\nbob,tea,5\n", numbers) == Strings{"ann tea 40", "bob tea 50"});
  CHECK(refusal_of("1,2,five\n1,3,4\n", numbers) ==
        ":1: the rating is \"five\", expected a finite number");
  CHECK(rows_in("user,item,rating\nbob,tea,5\n", numbers) == Strings{"bob tea 50"});
  CHECK(rows_in("user,item,rating,2019\nbob,tea,5,1\n", numbers) == Strings{"bob tea 50"});
  CHECK(notes_on("user,item,rating\nbob,tea,5\n", numbers).empty());
  CHECK(notes_on("wer,was,wie\nbob,tea,5\n", numbers) ==
        Strings{":1: has no number, so it is taken for names and not for a rating"});
  CHECK(refusal_of("wer,was,wie\nbob,tea,inf\n", numbers) ==
        ":2: the rating is \"inf\", expected a finite number");
}
