// SPDX-License-Identifier: MIT
#include <string>
#include <string_view>
#include <utility>

#include <movielens/data/row_splitter.hpp>

#include <examples/movielens/data/tables.hpp>
#include <support/catch.hpp>

using programs::movielens::test::columns;
using programs::movielens::test::refusal_of;
using programs::movielens::test::rows_in;
using programs::movielens::test::Strings;

TEST_CASE("RowSplitter: quotes as in RFC 4180", "[movielens][rows]") {
  auto splitter = programs::movielens::RowSplitter::for_first_line("movieId,title,genres");
  const auto split = [&](std::string_view line) {
    const auto fields = splitter.split(line);
    return Strings(fields.begin(), fields.end());
  };
  CHECK(split("11,\"American President, The (1995)\",Comedy|Drama") ==
        Strings{"11", "American President, The (1995)", "Comedy|Drama"});
  CHECK(split("\"a \"\"b\"\", c\",,") == Strings{"a \"b\", c", "", ""});
  CHECK(split("") == Strings{""});
  CHECK(split("\"open, to the end") == Strings{"open, to the end"});
}

TEST_CASE("RowSplitter: the first separator counts", "[movielens][rows]") {
  const auto fields_of = [](std::string_view line) {
    return programs::movielens::RowSplitter::for_first_line(line).split(line).size();
  };
  CHECK(fields_of("1::Toy Story, the | (1995)::Animation|Comedy") == 3);
  CHECK(fields_of("1|Toy Story, the (1995)|01-Jan-1995||http://x::y") == 5);
  CHECK(fields_of("\"a|b\",c,d|e") == 3);
  CHECK(fields_of("a:b\tc,d") == 2);
  CHECK(fields_of("nothing") == 1);
}

TEST_CASE("RowSplitter: a quote in a field is a letter", "[movielens][rows]") {
  const auto split = [](std::string_view separator, std::string_view line) {
    programs::movielens::RowSplitter splitter(separator);
    const auto fields = splitter.split(line);
    return Strings(fields.begin(), fields.end());
  };
  CHECK(split(",", "1,The 12\" Single,3") == Strings{"1", "The 12\" Single", "3"});
  CHECK(split(",", "1,\"The 12\" Single\",3") == Strings{"1", "The 12\" Single", "3"});
  CHECK(split(";", "\"a;b\" ;  \"c\"") == Strings{"a;b", "c"});
  CHECK(split("\t", "\"a\tb\"\tc\"\t\"d\" e") == Strings{"a\tb", "c\"", "\"d\" e"});
  CHECK(split("::", "1::\"Great Performances\" Cats (1998)::x") ==
        Strings{"1", "\"Great Performances\" Cats (1998)", "x"});
  CHECK(split("::", "\"1\"::\"10\"::\"3\"") == Strings{"1", "10", "3"});
  CHECK(split("|", "1|\"Cats|x") == Strings{"1", "\"Cats", "x"});
  CHECK(split(" ", "  \"Ann Lee\"  10 \t 3 ") == Strings{"Ann Lee", "10", "3"});
  CHECK(split(",", "\"\"\"\",\"\",x") == Strings{"\"", "", "x"});
}

TEST_CASE("rows: every separator", "[movielens][rows]") {
  const Strings rows = {"1 3 20", "4 2 50"};
  for (const std::string separator :
       {",", ";", "\t", "|", "::", " ", "   ", " , ", ", ", " ;", "\t \t", " \t", " :: ", ",\t"}) {
    const auto line = [&](std::string_view text) {
      std::string result;
      for (const char c : text) result += c == '_' ? separator : std::string(1, c);
      return result;
    };
    CAPTURE(separator);
    CHECK(rows_in(line("1_3_2_978300760\n4_2_5_978300760\n")) == rows);
    CHECK(rows_in(line("1_3_2\r\n4_2_5")) == rows);
    CHECK(rows_in(line("movieId_userId_rating\n3_1_2\n2_4_5\n")) == rows);
    CHECK(rows_in(line("movieId_userId_rating\n3_1_2\n2_4_5\n"), columns({"2", "1", "3"})) == rows);
    if (separator.find_first_of(",;:|") == std::string::npos) continue;
    CHECK(rows_in(line("userId_movieId_rating_\n1_3_2_\n4_2_5_\n")) == rows);
    CHECK(rows_in(line("userId_movieId_rating\n1_3_2_\n4_2_5__\n")) == rows);
    CHECK(rows_in(line("1_3_2_9_\n4_2_5_9\n")) == rows);
  }
  CHECK(rows_in("    1    3   2\n    4    2   5\n  ") == rows);
  CHECK(rows_in("1\t\t3\t\t2\n4\t\t2\t\t5\n") == rows);
  CHECK(rows_in("1 3\t2\n4\t2 5\n") == rows);
  CHECK(rows_in("user id\tmovie id\trating\n1\t3\t2\n4\t2\t5\n") == rows);
  CHECK(rows_in("sep=;\nuser;item;rating\n1;3;2,0\n4;2;5\n") == rows);
}

TEST_CASE("rows: decimal commas", "[movielens][rows]") {
  const Strings rows = {"1 3 25", "4 2 50"};
  for (const std::string separator : {";", "\t", "|", "::", " ", "  "}) {
    const auto line = [&](std::string_view text) {
      std::string result;
      for (const char c : text) result += c == '_' ? separator : std::string(1, c);
      return result;
    };
    CAPTURE(separator);
    CHECK(rows_in(line("1_3_2,5_9\n4_2_5,0_9\n")) == rows);
    CHECK(rows_in(line("1_3_2,5\n4_2_5\n")) == rows);
    CHECK(rows_in(line("userId_movieId_rating\n1_3_2,5\n4_2_5\n")) == rows);
    CHECK(rows_in(line("2,5_1_3\n5_4_2\n"), columns({"2", "3", "1"})) == rows);
  }
  CHECK(rows_in("userId,movieId,rating\n1,3,\"2,5\"\n4,2,\"5,0\"\n") == rows);
  CHECK(rows_in("\"2,5\",1,3\n\"5\",4,2\n", columns({"2", "3", "1"})) == rows);
  CHECK(rows_in("userId;movieId;rating\n1;3;2,500\n4;2;5,000\n") == rows);
}

TEST_CASE("rows: thousands separators are no decimals", "[movielens][rows][error]") {
  const auto refusal = [](const std::string& rating) {
    return refusal_of("user;item;score\n1;3;" + rating + "\n");
  };
  CHECK(refusal("1,250") ==
        ":2: the rating is \"1,250\", which may be a decimal or thousands: write it without the "
        "comma");
  CHECK(refusal("0,250") == "accepted");
  CHECK(refusal("1,25") == "accepted");
  for (const std::string rating : {"1,234.5", "1.234,5", "1,234,567", "1'234", "1 234"})
    CHECK(refusal(rating) == ":2: the rating is \"" + rating +
                                 "\", expected a finite number without thousands separators");
}

TEST_CASE("rows: quotes without an end are refused", "[movielens][rows][error]") {
  CHECK(refusal_of("user,item,rating,review\n1,2,3,\"two\nlines\"\n") ==
        ":2: a quoted field without its end");
}
