// SPDX-License-Identifier: MIT
// Tables of titles. The first byte chooses: what follows is a file, which ends in a FileError or in
// titles that can be shown; or it is made into a table with a header of any names and order, and
// what is read is what was written, or the header is refused.
#include <algorithm>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include <movielens/data/header.hpp>
#include <movielens/data/titles.hpp>
#include <programs/base/file_error.hpp>
#include <programs/base/utf8.hpp>

#include <fuzz/fuzz.hpp>

namespace {

using comet::fuzz::Bytes;
using comet::fuzz::expect;
using Strings = std::vector<std::string>;

/// A folder with movies.csv, which titles are looked for in.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "fuzz_titles.XXXXXX").string();
    expect(::mkdtemp(name.data()) != nullptr, "a folder can be made");
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }

  programs::movielens::Titles read(const std::string& content,
                                   const std::string& item_column) const {
    std::ofstream(path_ / "movies.csv", std::ios::binary) << content;
    return programs::movielens::read_titles(path_, item_column);
  }

 private:
  std::filesystem::path path_;
};

/// A table with known titles, written as the bytes say.
class MadeTable {
 public:
  explicit MadeTable(Bytes& bytes) : bytes_(bytes) {
    separator_ = Strings{",", ";", "\t", "|", "::"}[std::size_t(bytes.between(0, 4))];
    end_ = Strings{"\n", "\r\n", "\n\n"}[std::size_t(bytes.between(0, 2))];
    make_names();
    const auto files = bytes.between(1, 3);
    for (std::ptrdiff_t file = 0; file < files; ++file) {
      if (file > 0) shuffle();
      text_ += (bytes.between(0, 1) == 1 ? "\xEF\xBB\xBF" : "") + line(names_);
      for (auto rows = bytes.between(0, 5); rows > 0; --rows) add_title();
    }
  }

  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] const programs::movielens::Titles& titles() const noexcept { return titles_; }
  /// Two columns of one name, or a place that has to be guessed.
  [[nodiscard]] bool is_ambiguous() const {
    const auto count = [this](const char* name) {
      return std::count_if(names_.begin(), names_.end(), [&](const auto& each) {
        return programs::movielens::plain_name(each) == name;
      });
    };
    return count("movieid") != 1 || count("title") != 1;
  }

 private:
  void make_names() {
    const bool is_foreign = bytes_.between(0, 7) == 0;
    names_ = {"movieId", is_foreign ? "titel" : "title"};
    // The last two are titles where there is no better one.
    static const Strings others = {"x",     "rank",  "id",      "itemId", "year", "Title",
                                   "index", "genre", "movieId", "imdbId", "name", "movie"};
    for (auto more = bytes_.between(0, 4); more > 0; --more)
      names_.push_back(others[std::size_t(bytes_.between(0, is_foreign ? 9 : 11))]);
    shuffle();
  }

  void shuffle() {
    for (std::size_t i = names_.size() - 1; i > 0; --i)
      std::swap(names_[i], names_[std::size_t(bytes_.between(0, std::ptrdiff_t(i)))]);
  }

  void add_title() {
    const std::string id = std::to_string(bytes_.between(1, 99));
    const std::string title = "T" + std::to_string(bytes_.between(0, 255)) + " (of " + id + ")";
    Strings cells;
    for (const std::string& name : names_) {
      const std::string plain = programs::movielens::plain_name(name);
      cells.push_back(plain == "movieid" ? id
                      : plain == "title" ? title
                                         : "O" + std::to_string(bytes_.between(0, 99)));
    }
    titles_.insert_or_assign(id, title);
    text_ += line(cells);
  }

  [[nodiscard]] std::string line(const Strings& cells) const {
    std::string text;
    for (const std::string& cell : cells) text += (text.empty() ? "" : separator_) + cell;
    return text + end_;
  }

  Bytes& bytes_;
  std::string separator_, end_;
  Strings names_;
  std::string text_;
  programs::movielens::Titles titles_;
};

void check(const programs::movielens::Titles& titles) {
  for (const auto& [id, title] : titles) {
    expect(programs::to_utf8(id) == id, "ids are UTF-8");
    expect(programs::printable(title) == title && !title.empty(), "titles can be shown");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  if (size == 0) return 0;
  constexpr std::uint8_t made = 0x80;
  if (data[0] < made) {
    try {
      static const Strings names = {"", "movieId", "item", "title", "imdbId"};
      check(folder.read({reinterpret_cast<const char*>(data) + 1, size - 1}, names[data[0] % 5]));
    } catch (const programs::FileError& error) {
      expect(std::string(error.what()).find('\n') == std::string::npos, "an error is a line");
    }
    return 0;
  }
  Bytes bytes(data + 1, size - 1);
  const MadeTable table(bytes);
  try {
    const programs::movielens::Titles titles = folder.read(table.text(), "movieId");
    expect(!table.is_ambiguous(), "columns are never guessed");
    expect(titles == table.titles(), "what is read is what was written");
  } catch (const programs::FileError&) {
    expect(table.is_ambiguous(), "a header that names item and title is read");
  }
  return 0;
}
