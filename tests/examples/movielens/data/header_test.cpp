// SPDX-License-Identifier: MIT
#include <algorithm>
#include <string>

#include <movielens/data/header.hpp>

#include <examples/movielens/data/tables.hpp>
#include <support/catch.hpp>

using programs::movielens::test::columns;
using programs::movielens::test::notes_on;
using programs::movielens::test::refusal_of;
using programs::movielens::test::rows_in;
using programs::movielens::test::Strings;

TEST_CASE("header: columns are where it names them, in every order", "[movielens][header]") {
  Strings order = {"movieId", "rating", "timestamp", "userId"};
  do {
    std::string table;
    const auto line = [&](const auto& value) {
      for (const std::string& name : order) table += (&name == &order[0] ? "" : ",") + value(name);
      table += '\n';
    };
    const auto row = [&](const char* user, const char* movie, const char* rating) {
      line([&](const std::string& name) -> std::string {
        return name == "userId"    ? user
               : name == "movieId" ? movie
               : name == "rating"  ? rating
                                   : "9";
      });
    };
    line([](const std::string& name) { return name; });
    row("1", "3", "2.5");
    row("4", "2", "5");
    CAPTURE(table);
    CHECK(rows_in(table) == Strings{"1 3 25", "4 2 50"});
    CHECK(notes_on(table).empty());
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("header: other cases, spellings and synonyms", "[movielens][header]") {
  const Strings rows = {"1 3 20", "4 2 50"};
  for (const std::string header :
       {"movie_id,USER_ID,Rating", "ItemId,User,Score", "item,uid,stars", "ISBN,User-ID,rating",
        "book_id,reader,Book-Rating", "asin,reviewerID,overall", "anime_id,user_id,rating",
        "\"movieId\",\"userId\",\"rating\"", "Movie ID , User ID , Rating",
        "item_id:token,user_id:token,rating:float", "title,user,rating", "i,u,r",
        "product_id,customer,star_rating", "MOVIEID,USERID,RATING"}) {
    CAPTURE(header);
    CHECK(rows_in(header + "\n3,1,2\n2,4,5\n") == rows);
  }
}

TEST_CASE("header: other columns may be anywhere", "[movielens][header]") {
  const Strings rows = {"1 3 20", "4 2 50"};
  CHECK(rows_in(",movieId,userId,rating\n0,3,1,2\n1,2,4,5\n") == rows);
  CHECK(rows_in("title,genres,userId,timestamp,rating,movieId\nA,x|y,1,9,2,3\nB,,4,9,5,2\n") ==
        rows);
  CHECK(rows_in("userId;2019;item;user;rating\n1;9;3;u;2\n4;9;2;v;5\n") == rows);
  CHECK(rows_in("timestamp,user,item,rating,isbn\n9,1,3,2,x\n9,4,2,5,y\n") == rows);
}

TEST_CASE("header: names that are not known are refused with --columns",
          "[movielens][header][error]") {
  const std::string say = "; --columns USER,ITEM,RATING says which they are";
  CHECK(refusal_of("wer,movieId,rating\n1,3,2\n") ==
        ":1: the first line names no user: \"wer\", \"movieId\", \"rating\"" + say);
  CHECK(refusal_of("userId,movieId,Bewertung,timestamp\n1,3,2,9\n") ==
        ":1: the first line names no rating: \"userId\", \"movieId\", \"Bewertung\", "
        "\"timestamp\"" +
            say);
  CHECK(refusal_of("a,b,c,d\n1,3,2,9\n") ==
        ":1: the first line names no user, no item, no rating: \"a\", \"b\", \"c\", \"d\"" + say);
  CHECK(refusal_of("userId,movieId,rating,rating\n1,3,2,4\n") ==
        ":1: the first line names two columns for the rating: \"userId\", \"movieId\", "
        "\"rating\", \"rating\"" +
            say);
  CHECK(refusal_of("a,b,c,d,e,f,g,h,i,j\n1,3,2,9,9,9,9,9,9,9\n").ends_with("\"h\", ..." + say));
  CHECK(refusal_of("userId,movieId,rating\n") == ": no ratings in it");
}

TEST_CASE("header: a table without one keeps its first row", "[movielens][header]") {
  CHECK(rows_in("ann,tea,4,1\nbob,tea,5,1\n") == Strings{"ann tea 40", "bob tea 50"});
  CHECK(rows_in("rating,movieId,4,1\nbob,tea,5,1\n") == Strings{"bob tea 50", "rating movieId 40"});
  CHECK(rows_in("ann;tea;3,5;now\nbob;tea;5;now\n") == Strings{"ann tea 35", "bob tea 50"});
}

TEST_CASE("header: three columns without names are read, and it is said", "[movielens][header]") {
  const std::string table = "1,10,3\n2,9,5\n";
  CHECK(rows_in(table) == Strings{"1 10 30", "2 9 50"});
  CHECK(notes_on(table) ==
        Strings{":1: names no columns, so they are taken for user, item and rating in this order "
                "(--columns says otherwise)"});
  CHECK(notes_on("1,10,3,9\n2,9,5,9\n").empty());
  CHECK(refusal_of("1,10,7\n") ==
        ":1: the rating is \"7\", expected a number from 0.5 to 5; --columns USER,ITEM,RATING "
        "reads tables of other columns and scales");
  for (const std::string other : {"1,3\n", "1,2,3,4,5\n"})
    CHECK_THAT(refusal_of(other),
               ContainsSubstring(" columns without names, expected 4: user, item, rating, time; "
                                 "--columns USER,ITEM,RATING says which they are"));
}

TEST_CASE("header: MovieLens' names have its scale, others any", "[movielens][header]") {
  CHECK_THAT(refusal_of("userId,movieId,rating\n1,2,7\n"),
             ContainsSubstring(":2: the rating is \"7\", expected a number from 0.5 to 5"));
  CHECK(rows_in("user,item,rating\n1,2,70\n1,3,-7\n") == Strings{"1 2 700", "1 3 -70"});
}
