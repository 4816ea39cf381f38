// SPDX-License-Identifier: MIT
#include <string>

#include <examples/movielens/data/tables.hpp>
#include <support/catch.hpp>

using programs::movielens::test::columns;
using programs::movielens::test::refusal_of;
using programs::movielens::test::rows_in;
using programs::movielens::test::Strings;

namespace {
const std::string mark = "\xEF\xBB\xBF";
const std::string header = "userId,movieId,rating,timestamp\n";
}  // namespace

TEST_CASE("joined files: byte order marks and headers in the middle", "[movielens][joined]") {
  const Strings rows = {"1 3 20", "4 2 50"};
  for (const std::string end : {"\n", "\r\n", "\n\n", "\r", "\r\r\n"}) {
    std::string first = mark + header + "1,3,2,9\n";
    std::string second = mark + header + "4,2,5,9\n";
    for (std::string* text : {&first, &second})
      for (std::size_t at = 0; (at = text->find('\n', at)) != std::string::npos; at += end.size())
        text->replace(at, 1, end);
    CAPTURE(end);
    CHECK(rows_in(first + second) == rows);
    CHECK(rows_in(mark + first + mark + second) == rows);
    // The first has no end of its last line, but the second has its mark.
    CHECK(rows_in(first.substr(0, first.find("2,9") + 3) + second) == rows);
  }
  CHECK(rows_in(mark + "1,3,2,9\n" + mark + "4,2,5,9") == rows);
  CHECK(rows_in("1,3,2,9\n" + header + "4,2,5,9") == rows);
}

TEST_CASE("joined files: each is read by its own header", "[movielens][joined]") {
  const Strings rows = {"1 3 20", "4 2 50"};
  CHECK(rows_in("userId,movieId,rating\n1,3,2\nmovieId,userId,rating\n2,4,5\n") == rows);
  CHECK(rows_in("userId,movieId,rating\n1,3,2\nrating,time,item,user\n5,9,2,4\n") == rows);
  CHECK(rows_in("u,i,r\n1,3,2\nI,R,U\n2,5,4\n", columns({"u", "i", "r"})) == rows);
  CHECK(rows_in("was,wer,wie\n3,1,2\nWas,Wer,Wie\n2,4,5\n", columns({"2", "1", "3"})) == rows);
  CHECK(rows_in("1,3,2\nuser,item,rating\n4,2,5\n", columns({"1", "2", "3"})) == rows);
  CHECK(refusal_of("1,3,2\nitem,user,rating\n2,4,5\n", columns({"1", "2", "3"})) ==
        ":2: a header with other columns than those of --columns: \"item\", \"user\", \"rating\"");
  CHECK_THAT(refusal_of("userId,movieId,rating\n1,3,2\na,b,c\n"),
             StartsWith(":3: the rating is \"c\""));
}

TEST_CASE("joined files: two rows in one line are refused", "[movielens][joined][error]") {
  CHECK(refusal_of("1,3,2,9\n1,4,2,94,2,5,9\n") ==
        ":2: 7 columns, expected 4: user, item, rating, time (two rows in one line: files joined "
        "without an end of line?)");
  // Lines are counted by their ends.
  CHECK_THAT(refusal_of(header + "1,3,2,9" + mark + header + "1,4,x,9\n"),
             StartsWith(":3: the rating is \"x\""));
}

TEST_CASE("joined files: empty lines, and lines of separators", "[movielens][joined]") {
  CHECK(rows_in("\n \n" + header + "\n1,3,2,9\n,,,\n\t\n4,2,5,9\n;;;\n\"\"\n") ==
        Strings{"1 3 20", "4 2 50"});
}
