// SPDX-License-Identifier: MIT
// Tables of ratings, all editions: a FileError, or ratings that are what their comment promises.
#include <cmath>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <movielens/base/file_error.hpp>
#include <movielens/data/ratings.hpp>
#include <movielens/data/titles.hpp>

#include <fuzz/fuzz.hpp>

namespace {

using comet::fuzz::expect;

void check_ids(const std::vector<std::string>& ids) {
  for (const std::string& id : ids) expect(movielens::to_utf8(id) == id, "ids are UTF-8");
  expect(std::set<std::string>(ids.begin(), ids.end()).size() == ids.size(), "ids are distinct");
}

void check(const movielens::Ratings& ratings) {
  expect(ratings.size() > 0, "there are ratings");
  expect(ratings.value.size() == ratings.size(), "a value per rating");
  expect(ratings.offsets.size() == ratings.user_ids.size() + 1, "an offset per user");
  expect(ratings.offsets.front() == 0 && ratings.offsets.back() == ratings.size(),
         "all ratings are somebody's");
  for (std::int32_t u = 0; u < ratings.num_users(); ++u) {
    const auto begin = ratings.offsets[std::size_t(u)];
    const auto end = ratings.offsets[std::size_t(u) + 1];
    expect(begin < end, "a user has ratings");
    for (std::size_t i = begin; i < end; ++i) {
      expect(ratings.item[i] >= 0 && ratings.item[i] < ratings.num_items(), "items exist");
      expect(i == begin || ratings.item[i - 1] < ratings.item[i], "items ascend");
      expect(std::isfinite(ratings.value[i]), "values are finite");
    }
  }
  check_ids(ratings.user_ids);
  check_ids(ratings.item_ids);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const std::vector<std::string> columns[] = {
      {}, {}, {"1", "2", "3"}, {"user", "item", "rating"}};
  const comet::fuzz::MemoryFile file({reinterpret_cast<const char*>(data) + 1, size - 1});
  try {
    check(movielens::read_ratings(file.path(), columns[data[0] % 4]));
  } catch (const movielens::FileError&) {
  } catch (const std::invalid_argument&) {
    expect(data[0] % 4 >= 2, "only columns that were named can be wrong arguments");
  }
  return 0;
}
