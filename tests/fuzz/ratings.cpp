// SPDX-License-Identifier: MIT
// Tables of ratings. The first byte chooses: what follows is a file of any edition, with options or
// without, and ends in a FileError or in ratings that are what their comment promises; or it is
// made into a table with a header of any names and order, and what is read is what was written.
#include <cmath>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <movielens/data/header.hpp>
#include <movielens/data/ratings.hpp>
#include <programs/base/file_error.hpp>
#include <programs/base/utf8.hpp>

#include <fuzz/fuzz.hpp>

namespace {

using comet::fuzz::Bytes;
using comet::fuzz::expect;
using programs::movielens::TableOptions;
using Strings = std::vector<std::string>;

void check_ids(const Strings& ids) {
  for (const std::string& id : ids) expect(programs::to_utf8(id) == id, "ids are UTF-8");
  expect(std::set<std::string>(ids.begin(), ids.end()).size() == ids.size(), "ids are distinct");
}

void check(const programs::movielens::Ratings& ratings) {
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
  for (const std::string& note : ratings.notes)
    expect(programs::printable(note) == note, "notes are a line that can be shown");
}

/// The options of a first byte.
TableOptions options_of(std::uint8_t byte) {
  static const Strings columns[] = {
      {}, {}, {"1", "2", "3"}, {"user", "item", "rating"}, {}, {"name:1", "2", "name:3"}};
  TableOptions options;
  options.columns = columns[byte % 6];
  if (byte / 6 % 2 == 1) options.not_rated = byte / 12 % 2 == 0 ? "-1" : "NA";
  if (byte / 24 > 0) options.duplicates = programs::movielens::duplicates_names()[byte / 24 % 4];
  return options;
}

/// Any file.
void read(const std::filesystem::path& file, const TableOptions& options) {
  try {
    check(programs::movielens::read_ratings(file, options));
  } catch (const programs::FileError& error) {
    expect(std::string(error.what()).find('\n') == std::string::npos, "an error is a line");
  } catch (const std::invalid_argument&) {
    expect(!options.columns.empty(), "only columns that were named can be wrong arguments");
  }
}

/// A table with known ratings, written as the bytes say.
class MadeTable {
 public:
  explicit MadeTable(Bytes& bytes) : bytes_(bytes) {
    static const Strings separators = {",", ";", "\t", "|", "::", " ", "  ", " , "};
    separator_ = separators[std::size_t(bytes.between(0, 7))];
    end_ = Strings{"\n", "\r\n", "\r", "\n\n"}[std::size_t(bytes.between(0, 3))];
    quotes_ = bytes.between(0, 1) == 1 && separator_ != "::";
    make_names();
    const std::string header = line(names_);
    text_ = (bytes.between(0, 1) == 1 ? mark : "") + header;
    const auto rows = bytes.between(1, 12);
    for (std::ptrdiff_t row = 0; row < rows; ++row) {
      add_rating();
      if (bytes.between(0, 7) == 0) text_ += mark + header;  // another file begins
    }
  }

  [[nodiscard]] const std::string& text() const noexcept { return text_; }

  void expect_equal(const programs::movielens::Ratings& ratings) const {
    std::map<std::pair<std::string, std::string>, float> read;
    for (std::size_t u = 0; u < ratings.user_ids.size(); ++u)
      for (std::size_t r = ratings.offsets[u]; r < ratings.offsets[u + 1]; ++r)
        read[{ratings.user_ids[u], ratings.item_ids[std::size_t(ratings.item[r])]}] =
            ratings.value[r];
    expect(read == written_, "what is read is what was written");
  }

 private:
  static inline const std::string mark = "\xEF\xBB\xBF";

  /// The three, and others, in any order and case.
  void make_names() {
    names_ = {"userId", "movieId", "rating"};
    const auto others = bytes_.between(0, 5);
    for (std::ptrdiff_t i = 0; i < others; ++i) {
      std::string name;
      for (auto letters = bytes_.between(1, 8); letters > 0; --letters) {
        const auto c = bytes_.take<std::uint8_t>();
        name += c > 0x80 && c != 0xEF ? char(c) : char('0' + c % 75);  // '0' to 'z'
      }
      const std::string plain = programs::movielens::plain_name(name);
      const bool is_ours = plain == "userid" || plain == "movieid" || plain == "rating";
      const bool separates = name.find_first_of(",;|") != std::string::npos ||
                             name.find("::") != std::string::npos || name.front() == ':' ||
                             name.back() == ':';
      names_.push_back(is_ours || separates ? "x" : name);
    }
    for (std::size_t i = names_.size() - 1; i > 0; --i)
      std::swap(names_[i], names_[std::size_t(bytes_.between(0, std::ptrdiff_t(i)))]);
    for (std::size_t i = 0; i < names_.size(); ++i) {
      const std::string plain = programs::movielens::plain_name(names_[i]);
      if (plain == "userid") user_ = i;
      if (plain == "movieid") item_ = i;
      if (plain == "rating") rating_ = i;
      for (char& c : names_[i])
        if (c >= 'a' && c <= 'z' && bytes_.between(0, 1) == 1) c = char(c - 0x20);
    }
  }

  void add_rating() {
    static const Strings others = {"x", "3.5", "userId", "0", "nan", "12,5", "-"};
    Strings cells(names_.size());
    for (std::string& cell : cells) {
      cell = others[std::size_t(bytes_.between(0, 6))];
      if (separator_.find(',') != std::string::npos && cell == "12,5") cell = "y";
    }
    const std::string user = std::to_string(bytes_.between(1, 9));
    const std::string item = "m" + std::to_string(bytes_.between(1, 99));
    const auto halves = bytes_.between(1, 10);
    const bool has_comma = separator_.find(',') == std::string::npos && bytes_.between(0, 1) == 1;
    cells[user_] = user;
    cells[item_] = item;
    cells[rating_] =
        std::to_string(halves / 2) + (has_comma ? ',' : '.') + (halves % 2 == 0 ? '0' : '5');
    written_[{user, item}] = float(halves) / 2;
    text_ += line(cells);
  }

  [[nodiscard]] std::string line(const Strings& cells) const {
    std::string text;
    for (const std::string& cell : cells) {
      if (!text.empty()) text += separator_;
      text += quotes_ ? '"' + cell + '"' : cell;
    }
    return text + end_;
  }

  Bytes& bytes_;
  std::string separator_, end_;
  bool quotes_ = false;
  Strings names_;
  std::size_t user_ = 0, item_ = 0, rating_ = 0;
  std::string text_;
  std::map<std::pair<std::string, std::string>, float> written_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  constexpr std::uint8_t made = 0x80;
  if (data[0] < made) {
    const comet::fuzz::MemoryFile file({reinterpret_cast<const char*>(data) + 1, size - 1});
    // Digits, which the first files of the corpus begin with, are their own numbers.
    read(file.path(), options_of(data[0] >= '0' ? data[0] - '0' : data[0] + 80));
    return 0;
  }
  Bytes bytes(data + 1, size - 1);
  const MadeTable table(bytes);
  const comet::fuzz::MemoryFile file(table.text());
  TableOptions options;
  options.duplicates = "last";
  const programs::movielens::Ratings ratings =
      programs::movielens::read_ratings(file.path(), options);
  check(ratings);
  table.expect_equal(ratings);
  return 0;
}
