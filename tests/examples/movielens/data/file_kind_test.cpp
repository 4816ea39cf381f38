// SPDX-License-Identifier: MIT
#include <string>

#include <movielens/data/titles.hpp>

#include <examples/movielens/data/tables.hpp>
#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using namespace std::string_literals;
using comet::test::TemporaryDirectory;
using programs::movielens::test::columns;
using programs::movielens::test::refusal_of;
using programs::movielens::test::rows_in;
using programs::movielens::test::Strings;

TEST_CASE("file_kind: other files are refused in words", "[movielens][file_kind][error]") {
  CHECK(refusal_of("\x1F\x8B\x08\0\0"s) ==
        ": is compressed by gzip: unpack it first, as with gunzip");
  CHECK(refusal_of("PK\3\4\x14\0"s) ==
        ": is a zip archive or a spreadsheet (.xlsx): unpack it, or export it as CSV");
  const std::string utf_16 =
      ": is text in UTF-16, expected UTF-8: convert it, as with iconv -f UTF-16 -t UTF-8";
  CHECK(refusal_of("\xFF\xFEu\0s\0e\0r\0"s) == utf_16);
  CHECK(refusal_of("\xFE\xFF\0u\0s\0e\0r"s) == utf_16);
  CHECK(refusal_of("1\0,\0"
                   "1\0"s) == utf_16);
  CHECK(refusal_of("\0"
                   "1\0,\0"
                   "1"s) == utf_16);
  CHECK_THAT(refusal_of("\xFF\xFE\0\0u\0\0\0"s), StartsWith(": is text in UTF-32"));
  for (const std::string& content :
       {"BZh91AY&SY"s,
        "\xFD"
        "7zXZ\0\0"s,
        "\x28\xB5\x2F\xFD\x24"s, "7z\xBC\xAF\x27\x1C\0"s, "PAR1\x15"s, "\x89HDF\r\n"s,
        "SQLite format 3\0"s, "\x93NUMPY\1"s, "\xD0\xCF\x11\xE0\xA1"s, "%PDF-1.7"s,
        "<!DOCTYPE html>\n"s, "{\"user\": 1}\n"s, "[{\"user\": 1}]\n"s, "\x80\x04\x95"s,
        "version https://git-lfs.github.com/spec/v1\n"s})
    CHECK_THAT(refusal_of(content), StartsWith(": is "));
  CHECK(refusal_of("1,1,3,0\n1,\0,3,0\n"s) == ":2: control character 0: this is not a text file");
  CHECK(refusal_of("1,1,3,0\n1,\x1B[31m,3,0\n"s) ==
        ":2: control character 27: this is not a text file");
  CHECK(refusal_of("\xEF\xBB\xBF") == ": no ratings in it");
}

TEST_CASE("file_kind: titles, too", "[movielens][file_kind][error]") {
  const TemporaryDirectory directory;
  const auto file = directory.write("movies.csv", "\x1F\x8B\x08");
  CHECK_THROWS_WITH(programs::movielens::read_titles(directory.path()),
                    file.string() + ": is compressed by gzip: unpack it first, as with gunzip");
}

TEST_CASE("lines: every end", "[movielens][lines]") {
  for (const std::string end : {"\n", "\r\n", "\r", "\r\r\n"})
    CHECK(rows_in("1,3,2,9" + end + "4,2,5,9") == Strings{"1 3 20", "4 2 50"});
  CHECK(rows_in("1,3,2,9") == Strings{"1 3 20"});
  CHECK(rows_in("1,3,2,9\r") == Strings{"1 3 20"});
  CHECK(refusal_of("1,3,2,9\r4,2,x,9\r") ==
        ":2: the rating is \"x\", expected a number from 0.5 to 5");
}

TEST_CASE("lines: ends and marks across the ends of the buffer", "[movielens][lines]") {
  // Rows of 16 bytes with ends of 1 to 5 bytes meet every place of the buffer's end.
  constexpr std::size_t rows = 90'000;
  for (const std::string end : {"\n", "\r\n", "\r", "\r\r\n", "\n\xEF\xBB\xBF", "\xEF\xBB\xBF"}) {
    std::string content;
    for (std::size_t i = 0; i < rows; ++i) {
      content += "1," + std::to_string(i) + ",4";
      content += end;
    }
    const TemporaryDirectory directory;
    CAPTURE(end);
    CHECK(programs::movielens::read_ratings(directory.write("r", content)).size() == rows);
  }
}

TEST_CASE("lines: as long as the buffer", "[movielens][lines]") {
  constexpr std::size_t longest = std::size_t{1} << 20;
  const std::string begin = "user,item,rating,note\n1,2,3,";
  const auto padding = [&](std::size_t size) { return std::string(size, 'x'); };
  CHECK(refusal_of(begin + padding(longest - 7) + "\n1,3,2,x\n") == "accepted");
  CHECK(refusal_of(begin + padding(longest) + "\n1,3,2,x\n") ==
        ":2: a line of more than 1 MiB: this is not a text file");
}

TEST_CASE("ratings: a directory with two editions is refused", "[movielens][file_kind][error]") {
  const TemporaryDirectory directory;
  (void)directory.write("ratings.csv", "1,1,3,0\n");
  (void)directory.write("u.data", "1\t1\t3\t0\n");
  CHECK_THROWS_WITH(programs::movielens::read_ratings(directory.path()),
                    directory.path().string() +
                        ": holds both ratings.csv and u.data: --data has to name one of them");
  CHECK(programs::movielens::read_ratings(directory.path() / "u.data").size() == 1);
}
