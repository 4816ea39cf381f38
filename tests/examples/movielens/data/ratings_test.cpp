// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <movielens/data/ratings.hpp>
#include <programs/base/file_error.hpp>

#include <examples/movielens/data/tables.hpp>
#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using comet::test::TemporaryDirectory;
using programs::FileError;
using programs::movielens::Ratings;
using programs::movielens::read_ratings;
using programs::movielens::test::rows_in;
using programs::movielens::test::Strings;

TEST_CASE("read_ratings: every edition, recognised by its content", "[movielens][ratings]") {
  const Strings rows = {"1 10 30", "2 9 50", "2 10 40"};
  CHECK(rows_in("2\t10\t4\t881250949\n1\t10\t3\t881250949\n2\t9\t5\t881250949\n") == rows);
  CHECK(rows_in("2::10::4::978300760\n1::10::3::978300760\n2::9::5::978300760\n") == rows);
  CHECK(rows_in("userId,movieId,rating,timestamp\r\n1,10,3.0,964982703\r\n"
                "2,10,4.0,964982703\r\n2,9,5.0,964982703\r\n") == rows);
  CHECK(rows_in("\xEF\xBB\xBF\"userId\",\"movieId\",\"rating\",\"timestamp\"\n"
                "\"1\",\"10\",\"3\",\"2005-04-02 23:53:47\"\n2, 10, 4.0 ,1\n2,9,5,1") == rows);
  CHECK(rows_in("1,10,3,0\n\n2,10,4,0\n2,9,5,0\n\n") == rows);
}

TEST_CASE("read_ratings: half stars and the bounds", "[movielens][ratings]") {
  CHECK(rows_in("1,1,0.5,0\n1,2,2.5,0\n1,3,5.0,0\n") == Strings{"1 1 5", "1 2 25", "1 3 50"});
}

TEST_CASE("read_ratings: ids of any kind are numbered alike for any order of rows",
          "[movielens][ratings]") {
  const TemporaryDirectory directory;
  const Ratings a = read_ratings(
      directory.write("a", "10,x-1,1,0\n9,x-1,2,0\n9,\"The, Book\",3,0\nZo\xC3\xAB,7,4,0\n"));
  const Ratings b = read_ratings(
      directory.write("b", "Zo\xC3\xAB,7,4,0\n9,\"The, Book\",3,0\n9,x-1,2,0\n10,x-1,1,0\n"));
  CHECK(a.user_ids == Strings{"9", "10", "Zo\xC3\xAB"});
  CHECK(a.item_ids == Strings{"7", "x-1", "The, Book"});
  CHECK(a.offsets == std::vector<std::size_t>{0, 2, 3, 4});
  CHECK(a.item == std::vector<std::int32_t>{1, 2, 1, 0});
  CHECK(a.value == std::vector<float>{2, 3, 1, 4});
  CHECK(a.num_users() == 3);
  CHECK(a.num_items() == 3);
  CHECK(b.user_ids == a.user_ids);
  CHECK(b.item_ids == a.item_ids);
  CHECK(b.offsets == a.offsets);
  CHECK(b.item == a.item);
  CHECK(b.value == a.value);
}

TEST_CASE("read_ratings: finds the file in a directory", "[movielens][ratings]") {
  for (const char* name :
       {"ratings.csv", "ratings.dat", "u.data", "jester-data-1.csv", "BX-Book-Ratings.csv"}) {
    const TemporaryDirectory directory;
    const auto file = directory.write(name, "1\t1\t5\t0\n");
    CHECK(read_ratings(directory.path()).file == file);
  }
}

TEST_CASE("read_ratings: longer than the read buffer", "[movielens][ratings]") {
  std::string content = "userId,movieId,rating,timestamp\r\n";
  constexpr int users = 300;
  constexpr int items = 400;
  for (int u = 1; u <= users; ++u)
    for (int i = 1; i <= items; ++i)
      content +=
          std::to_string(u) + "," + std::to_string(i) + "," + std::to_string(i % 5 + 1) + ",9\r\n";
  REQUIRE(content.size() > (1U << 20U));
  const TemporaryDirectory directory;
  const Ratings ratings = read_ratings(directory.write("ratings.csv", content));
  REQUIRE(ratings.size() == users * items);
  bool all_right = true;
  for (int u = 0; u < users; ++u)
    for (int i = 0; i < items; ++i) {
      const std::size_t r = static_cast<std::size_t>(u * items + i);
      all_right = all_right && ratings.item[r] == i &&
                  ratings.value[r] == static_cast<float>((i + 1) % 5 + 1);
    }
  CHECK(all_right);

  content += "7,broken\r\n";
  CHECK_THROWS_WITH(read_ratings(directory.write("ratings.csv", content)),
                    ContainsSubstring("ratings.csv:120002: 2 columns"));
}

TEST_CASE("read_ratings: bad files are refused with file, line and reason",
          "[movielens][ratings][error]") {
  const TemporaryDirectory directory;
  const auto refused = [&](std::string_view content, const std::string& ending) {
    const auto file = directory.write("r", content);
    CHECK_THROWS_AS(read_ratings(file), FileError);
    CHECK_THROWS_WITH(read_ratings(file), file.string() + ending);
  };
  const std::string range = ", expected a number from 0.5 to 5";
  const std::string not_rated = "; if it means \"not rated\": --not-rated ";
  const std::string merge = "; --duplicates first, last or mean makes one of them";
  refused("", ": no ratings in it");
  refused("\n\r\n", ": no ratings in it");
  refused("userId,movieId,rating,timestamp\n", ": no ratings in it");
  refused("1,1,3,0\n1,2,3\n", ":2: 3 columns, expected 4: user, item, rating, time");
  refused("1,1,3,0\n1,2,3,0,0\n", ":2: 5 columns, expected 4: user, item, rating, time");
  refused("just text\n",
          ":1: the first line names no user, no item, no rating: \"just text\"; --columns "
          "USER,ITEM,RATING says which they are");
  refused("1,1,abc,0\n", ":1: the rating is \"abc\"" + range);
  refused("1\t1\t3\t0\n\n1\t2\tnan\t0\n", ":3: the rating is \"nan\"" + range + not_rated + "nan");
  refused("1::1::-1::0\n", ":1: the rating is \"-1\"" + range + not_rated + "-1");
  refused("1::1::1e9::0\n",
          ":1: the rating is \"1e9\"" + range +
              "; --columns USER,ITEM,RATING reads tables of other columns and scales");
  refused("1::1::inf::0\n", ":1: the rating is \"inf\"" + range);
  refused("1::1::1e99::0\n", ":1: the rating is \"1e99\"" + range);
  refused("1,1,0,0\n", ":1: the rating is \"0\"" + range + not_rated + "0");
  refused("1,1,3x,0\n", ":1: the rating is \"3x\"" + range);
  refused("1,1,,0\n", ":1: the rating is \"\"" + range + not_rated + "\"\"");
  refused(",1,3,0\n", ":1: the user is empty");
  refused("1,,3,0\n", ":1: the item is empty");
  refused("1,1,3,0\n1,2,3,0\n1,1,4,0\n",
          ":3: user \"1\" rates item \"1\" a second time, first in line 1" + merge);
  // The same id in ISO-8859-1 and in UTF-8.
  refused("Ren\xe9,1,3,0\nRen\xc3\xa9,1,4,0\n",
          ":2: user \"Ren\xc3\xa9\" rates item \"1\" a second time, first in line 1" + merge);
  refused(std::string_view("1,1,3,0\n\x89PNG\0\0\n", 16),
          ":2: control character 0: this is not a text file");
  refused("1,1,3,0\n" + std::string(3U << 20U, 'x'),
          ":2: a line of more than 1 MiB: this is not a text file");
  refused("1,1," + std::string(100, '9') + ",0\n",
          ":1: the rating is \"" + std::string(40, '9') + "...\"" + range);
}

TEST_CASE("read_ratings: missing files", "[movielens][ratings][error]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path().string();
  CHECK_THROWS_WITH(read_ratings(directory.path() / "none"),
                    path + "/none: cannot be opened: No such file or directory");
  CHECK_THROWS_WITH(read_ratings(directory.path()),
                    path +
                        ": holds none of ratings.csv, ratings.dat, u.data, jester-data-1.csv and "
                        "BX-Book-Ratings.csv");
}

TEST_CASE("read_ratings: Book-Crossing, ISBNs and implicit rows", "[movielens][ratings]") {
  // Latin-1 in an id, an id of another length, a pair that comes twice, and rows without a rating.
  const Strings rows = {"7 12345678 10",
                        "7 034X\xC3\xA9"
                        "45104 100",
                        "12 12345678 50"};
  const std::string separators = ";,";
  for (const char s : separators) {
    std::string text;
    for (const char* row :
         {"\"User-ID\";\"ISBN\";\"Book-Rating\"\r\n", "\"12\";\"12345678\";\"5\"\r\n",
          "\"7\";\"034X\xE9"
          "45104\";\"10\"\r\n",
          "\"7\";\"99\";\"0\"\r\n", "\"7\";\"12345678\";\"1\"\r\n", "\"7\";\"12345678\";\"3\"\r\n",
          "\"9\";\"12345678\";\"0\"\r\n"})
      text += row;
    std::replace(text.begin(), text.end(), ';', s);
    CHECK(rows_in(text) == rows);
    std::erase(text, '"');
    CHECK(rows_in(text) == rows);
  }
  const TemporaryDirectory directory;
  const auto file = directory.write("b", "User-ID;ISBN;Rating\n1;a;11\n");
  CHECK_THROWS_WITH(read_ratings(file), file.string() +
                                            ":2: the rating is \"11\", expected a number from 1 "
                                            "to 10; --columns USER,ITEM,RATING reads tables of "
                                            "other columns and scales");
}

TEST_CASE("read_ratings: Jester, a row per user", "[movielens][ratings]") {
  CHECK(rows_in("3,99,-9.95,99,0,99,99,99,10\n1,2.5,99,99,99,99,99,99,99\n") ==
        Strings{"1 2 -99", "1 4 0", "1 8 100", "2 1 25"});
  const TemporaryDirectory directory;
  const auto refused = [&](std::string_view content, const std::string& ending) {
    const auto file = directory.write("j", content);
    CHECK_THROWS_WITH(read_ratings(file), file.string() + ending);
  };
  const std::string good = "1,2.5,99,99,99,99,99,99,99\n";
  refused(good + "1,10.5,99,99,99,99,99,99,99\n",
          ":2: the rating is \"10.5\", expected a number from -10 to 10; --columns "
          "USER,ITEM,RATING reads tables of other columns and scales");
  refused(good + "2,1.5,99,99,99,99,99,99,99\n",
          ":2: the row has 1 rating, and says \"2\"; if it is no row of Jester, --columns "
          "USER,ITEM,RATING says what is where");
  refused(good + "1,1.5,99,99\n", ":2: 4 columns, expected 9: as many as in the first line");
}

TEST_CASE("source_of: the note beside the data, else the path", "[movielens][ratings]") {
  const TemporaryDirectory directory;
  const auto file = directory.write("ratings.csv", "1,1,3,0\n");
  CHECK(programs::movielens::source_of(file) == file.string());
  (void)directory.write("SOURCE", "synthetic, seed 1\nmore\n");
  CHECK(programs::movielens::source_of(file) == "synthetic, seed 1");
}

TEST_CASE("read_ratings: ml-latest-small has the counts of its README",
          "[movielens][ratings][real]") {
  const std::filesystem::path data = COMET_DATA_DIR;
  if (!std::filesystem::exists(data / "ratings.csv")) {
    WARN("no real data: skipped");
    return;
  }
  const Ratings ratings = read_ratings(data);
  if (std::filesystem::file_size(ratings.file) != 2483723) {
    WARN("another edition: skipped");
    return;
  }
  CHECK(ratings.size() == 100836);
  CHECK(ratings.num_users() == 610);
  CHECK(ratings.num_items() == 9724);
  CHECK(ratings.user_ids.back() == "610");
  CHECK(ratings.item_ids.back() == "193609");
  double sum = 0;
  for (const float value : ratings.value) sum += static_cast<double>(value);
  CHECK(sum / 100836 == Approx(3.501557).epsilon(1e-6));
}
