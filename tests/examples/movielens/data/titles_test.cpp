// SPDX-License-Identifier: MIT
#include <filesystem>
#include <string>

#include <movielens/data/titles.hpp>

#include <examples/movielens/temporary_directory.hpp>
#include <support/catch.hpp>

using movielens::read_titles;
using movielens::Titles;
using movielens::test::TemporaryDirectory;

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

TEST_CASE("to_utf8: keeps UTF-8, reads the rest as ISO-8859-1", "[movielens][titles]") {
  using movielens::to_utf8;
  for (const std::string text : {"", "plain", "\xC3\xA9", "\xE2\x82\xAC 5", "\xF0\x9F\x8E\xAC"})
    CHECK(to_utf8(text) == text);
  CHECK(to_utf8("\xE9") == "\xC3\xA9");
  CHECK(to_utf8("\xE9t\xE9") == "\xC3\xA9t\xC3\xA9");
  // Not UTF-8: cut off, over-long, a surrogate, beyond the last code point, a lone continuation.
  for (const std::string text :
       {"\xE2\x82", "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xBF"})
    CHECK(to_utf8(text).size() == 2 * text.size() - (text.back() == '\x2F' ? 1 : 0));
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
