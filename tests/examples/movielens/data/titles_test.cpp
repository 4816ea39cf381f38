// SPDX-License-Identifier: MIT
#include <filesystem>
#include <string>

#include <movielens/data/titles.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using comet::test::TemporaryDirectory;
using programs::movielens::read_titles;
using programs::movielens::Titles;

TEST_CASE("read_titles: movies.csv, UTF-8 with quotes and CRLF", "[movielens][titles]") {
  const TemporaryDirectory directory;
  (void)directory.write("movies.csv",
                        "movieId,title,genres\r\n"
                        "1,Toy Story (1995),Adventure|Animation\r\n"
                        "11,\"American President, The (1995)\",Comedy\r\n"
                        "58,\"Postman, The (Postino, Il) (1994)\",Comedy\r\n"
                        "73,\"Mis\xC3\xA9rables, Les (1995)\",(no genres listed)\r\n");
  const Titles expected = {{"1", "Toy Story (1995)"},
                           {"11", "American President, The (1995)"},
                           {"58", "Postman, The (Postino, Il) (1994)"},
                           {"73", "Mis\xC3\xA9rables, Les (1995)"}};
  CHECK(read_titles(directory.path()) == expected);
  CHECK(read_titles(directory.path() / "ratings.csv") == expected);
}

TEST_CASE("read_titles: movies.dat, ISO-8859-1", "[movielens][titles]") {
  const TemporaryDirectory directory;
  (void)directory.write("movies.dat",
                        "1::Toy Story (1995)::Animation|Children's\n"
                        "73::Mis\xE9rables, Les (1995)::Drama|Musical\n");
  CHECK(read_titles(directory.path()) ==
        Titles{{"1", "Toy Story (1995)"}, {"73", "Mis\xC3\xA9rables, Les (1995)"}});
}

TEST_CASE("read_titles: u.item, ISO-8859-1", "[movielens][titles]") {
  const TemporaryDirectory directory;
  (void)directory.write("u.item",
                        "1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/x|0|0|1\n"
                        "267|unknown||||1|0|0\n"
                        "543|Mis\xE9rables, Les (1995)|01-Jan-1995||http://x|0|0|0\n");
  CHECK(read_titles(directory.path()) == Titles{{"1", "Toy Story (1995)"},
                                                {"267", "unknown"},
                                                {"543", "Mis\xC3\xA9rables, Les (1995)"}});
}

TEST_CASE("read_titles: none is no error, a torn row is", "[movielens][titles][error]") {
  const TemporaryDirectory directory;
  CHECK(read_titles(directory.path()).empty());
  const auto file = directory.write("movies.csv", "movieId,title,genres\n1,A,x\n2\n");
  CHECK_THROWS_WITH(read_titles(directory.path()),
                    file.string() + ":3: 1 column, expected at least 2: item, title");
}

TEST_CASE("read_titles: item and title are where the first line names them",
          "[movielens][titles]") {
  const Titles expected = {{"1", "Toy Story"}, {"2", "Heat, the"}};
  for (const std::string content :
       {"index,movieId,title\n0,1,Toy Story\n1,2,\"Heat, the\"\n",
        ",movieId,title,genres\n0,1,Toy Story,x\n1,2,\"Heat, the\",\n",
        "title,movieId\nToy Story,1\n\"Heat, the\",2\n",
        "Genres;Movie_Title;MOVIE_ID\nx;Toy Story;1\ny;Heat, the;2\n",
        "\xEF\xBB\xBFid\tname\n1\tToy Story\n2\tHeat, the\n",
        "movieId,movie\n1,Toy Story\n2,\"Heat, the\"\n",
        "item_id,year,title\n1,1995,Toy Story\n2,1995,\"Heat, the\"",
        "movieId,title\n1,Toy Story\n\xEF\xBB\xBFmovieId,title\n2,\"Heat, the\"\n",
        "movieId,title\n1,Toy Story\n\xEF\xBB\xBFindex,Title,movieID\n0,\"Heat, the\",2\n",
        "movieId,title\r\n1.0,Toy Story\r\n\r\n2.0,\"Heat, the\"\r\n",
        "1,Toy Story,x\n2,\"Heat, the\",y\n", "1::Toy Story\n2::Heat, the\n"}) {
    const TemporaryDirectory directory;
    (void)directory.write("movies.csv", content);
    CAPTURE(content);
    CHECK(read_titles(directory.path()) == expected);
  }
}

TEST_CASE("read_titles: the item's column of the ratings counts", "[movielens][titles]") {
  const TemporaryDirectory directory;
  (void)directory.write("movies.csv", "movieId,imdbId,title\n1,2,A\n2,1,B\n");
  CHECK(read_titles(directory.path(), "movieId") == Titles{{"1", "A"}, {"2", "B"}});
  CHECK(read_titles(directory.path(), "imdb_id") == Titles{{"2", "A"}, {"1", "B"}});
  CHECK(read_titles(directory.path(), "item") == Titles{{"1", "A"}, {"2", "B"}});
  CHECK(read_titles(directory.path(), "title") == Titles{{"A", "A"}, {"B", "B"}});
  // Numbers of another catalogue are no numbers of these movies.
  CHECK(read_titles(directory.path(), "tmdbId").empty());
}

TEST_CASE("read_titles: what cannot be item and title is refused", "[movielens][titles][error]") {
  const TemporaryDirectory directory;
  const auto refused = [&](const std::string& content, const std::string& ending) {
    const auto file = directory.write("movies.csv", content);
    CHECK_THROWS_WITH(read_titles(directory.path()), file.string() + ending);
  };
  refused("index,title\n0,Toy Story\n",
          ":1: no item among the names of the columns: \"index\", \"title\"; expected one such as "
          "movieId");
  // Where one of them is named, the place of the other is not guessed.
  refused("rank,titel,movieId\n7,Heat,1\n",
          ":1: no title among the names of the columns: \"rank\", \"titel\", \"movieId\"; expected "
          "one such as title");
  refused("movieId,year,title,Title\n1,c. 1995,Heat,Heat\n",
          ":1: two titles among the names of the columns: \"movieId\", \"year\", \"title\", "
          "\"Title\"; expected one such as title");
  refused(
      "movieId,movie_id,title,id\n1,2,Heat,1\n",
      ":1: two items among the names of the columns: \"movieId\", \"movie_id\", \"title\", \"id\"; "
      "expected one such as movieId");
  refused("0,1,Toy Story\n1,2,Heat\n",
          ": the second column has nothing but numbers, expected titles; names in the first line, "
          "such as movieId and title, say which columns count");
  refused("index,movieId,title\n0,1\n", ":2: 2 columns, expected at least 3");
  const auto file = directory.write("movies.csv", "id,jahr,titel\n1,c. 1995,Heat\n");
  CHECK_THROWS_WITH(read_titles(directory.path(), "id"),
                    file.string() +
                        ":1: no title among the names of the columns: \"id\", "
                        "\"jahr\", \"titel\"; expected one such as title");
}

TEST_CASE("read_titles: the edition of the ratings comes first", "[movielens][titles]") {
  const TemporaryDirectory directory;
  (void)directory.write("movies.csv", "1,of csv\n");
  (void)directory.write("movies.dat", "1::of dat\n");
  (void)directory.write("u.item", "1|of 100K\n");
  (void)directory.write("BX-Books.csv", "\"ISBN\";\"Book-Title\"\n\"1\";\"of books\"\n");
  const auto beside = [&](const char* name) {
    return read_titles(directory.path() / name).at("1");
  };
  CHECK(beside("ratings.csv") == "of csv");
  CHECK(beside("ratings.dat") == "of dat");
  CHECK(beside("u.data") == "of 100K");
  CHECK(beside("BX-Book-Ratings.csv") == "of books");
  CHECK(beside("other.csv") == "of csv");
}

TEST_CASE("read_titles: titles do nothing to a terminal", "[movielens][titles]") {
  const TemporaryDirectory directory;
  (void)directory.write("movies.csv",
                        "movieId,title\n1,\x1B[31mRed\x07\n2,Schindler\x92s \x85\n3,\n4,a\tb\n");
  CHECK(read_titles(directory.path()) ==
        Titles{{"1", "\uFFFD[31mRed\uFFFD"}, {"2", "Schindler\u2019s \u2026"}, {"4", "a b"}});
}

TEST_CASE("read_titles: every rated item of ml-latest-small has one", "[movielens][titles][real]") {
  const std::filesystem::path data = COMET_DATA_DIR;
  if (!std::filesystem::exists(data / "movies.csv")) {
    WARN("no real data: skipped");
    return;
  }
  const Titles titles = read_titles(data);
  CHECK(titles.at("1") == "Toy Story (1995)");
  if (std::filesystem::file_size(data / "movies.csv") == 494431) CHECK(titles.size() == 9742);
}
