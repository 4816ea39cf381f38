// SPDX-License-Identifier: MIT
#include <string>

#include <examples/movielens/data/tables.hpp>
#include <support/catch.hpp>

using programs::movielens::test::columns;
using programs::movielens::test::not_rated;
using programs::movielens::test::notes_on;
using programs::movielens::test::refusal_of;
using programs::movielens::test::rows_in;
using programs::movielens::test::Strings;

TEST_CASE("--not-rated: rows with it are left out", "[movielens][not_rated]") {
  const std::string header = "user,anime_id,rating\n";
  CHECK(rows_in(header + "1,2,-1\n1,3,8\n4,2,-1.0\n4,3,10\n", not_rated("-1")) ==
        Strings{"1 3 80", "4 3 100"});
  CHECK(rows_in("1,2,0,9\n1,3,4,9\n", not_rated("0")) == Strings{"1 3 40"});
  CHECK(rows_in("1,2,99\n1,3,4\n", not_rated("99")) == Strings{"1 3 40"});
  CHECK(rows_in("1,2,NA,9\n1,3,4,9\n", not_rated("NA")) == Strings{"1 3 40"});
  CHECK(rows_in("ann,tea,NA\nbob,tea,4\n", not_rated("NA")) == Strings{"bob tea 40"});
  CHECK(rows_in("ann,tea,NA\nbob,tea,4\n", not_rated("NA", {"1", "2", "3"})) ==
        Strings{"bob tea 40"});
  CHECK(rows_in("userId,movieId,rating,t\n1,2,,9\n1,3,4,9\n", not_rated("")) == Strings{"1 3 40"});
  CHECK(rows_in("userId,movieId,rating,t\n1,2,nan,9\n1,3,4,9\n", not_rated("nan")) ==
        Strings{"1 3 40"});
  CHECK(notes_on("userId,movieId,rating\n1,2,3\n", not_rated("-2")) ==
        Strings{": no row has --not-rated \"-2\""});
  // Besides what the set itself leaves out.
  CHECK(rows_in("User-ID;ISBN;Book-Rating\n1;a;0\n1;b;-1\n1;c;4\n", not_rated("-1")) ==
        Strings{"1 c 40"});
  CHECK(rows_in("1,99,-9.5,7.7,99,99,99,99,99\n", not_rated("7.7")) == Strings{"1 2 -95"});
  CHECK(refusal_of(header + "1,2,-1\n1,3,-1\n", not_rated("-1")) ==
        ": no ratings in it, 2 rows with what means \"not rated\"");
}

TEST_CASE("--not-rated: a rating out of the scale names it", "[movielens][not_rated][error]") {
  for (const std::string text : {"-1", "0", "99", "-99", "NA", "null", "?", "-1.0"})
    CHECK(refusal_of("1,2,4,9\n1,3," + text + ",9\n") ==
          ":2: the rating is \"" + text +
              "\", expected a number from 0.5 to 5; if it means \"not rated\": --not-rated " +
              text);
  CHECK(refusal_of("u,i,r\n1,3,\n") ==
        ":2: the rating is \"\", expected a finite number; if it means \"not rated\": "
        "--not-rated \"\"");
}

TEST_CASE("--not-rated: a rating apart from an unknown scale is remarked",
          "[movielens][not_rated]") {
  const auto notes = [](const Strings& ratings) {
    std::string table = "user,item,rating\n";
    int item = 0;
    for (const std::string& rating : ratings)
      table += "1," + std::to_string(++item) + "," + rating + "\n";
    return notes_on(table);
  };
  CHECK(notes({"1", "-1", "5", "3", "-1"}) ==
        Strings{": 2 ratings of 5 are -1, all others from 1 to 5; if it means \"not rated\": "
                "--not-rated -1"});
  CHECK(notes({"0", "10", "3"}) ==
        Strings{": 1 rating of 3 is 0, all others from 3 to 10; if it means \"not rated\": "
                "--not-rated 0"});
  CHECK(notes({"-9.5", "99", "7"}) ==
        Strings{": 1 rating of 3 is 99, all others from -9.5 to 7; if it means \"not rated\": "
                "--not-rated 99"});
  CHECK(notes({"99", "-1", "4", "5"}).size() == 2);
  CHECK(notes({"0", "-1", "5"}).size() == 1);
  for (const Strings& usual :
       {Strings{"1", "5"}, Strings{"-1", "1"}, Strings{"-1", "0", "1"}, Strings{"0", "1"},
        Strings{"0", "0.5", "5"}, Strings{"-2", "-1", "2"}, Strings{"-3.5", "40"},
        Strings{"50", "99"}, Strings{"-1"}})
    CHECK(notes(usual).empty());
  CHECK(notes_on("a,b,-1\na,c,5\n", columns({"1", "2", "3"})).size() == 1);
  CHECK(notes_on("1,1,2,9\n1,2,3,9\n").empty());
}
