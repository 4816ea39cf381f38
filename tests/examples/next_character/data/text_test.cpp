// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <comet/core/random.hpp>

#include <next_character/data/text.hpp>
#include <next_character/data/text_files.hpp>
#include <next_character/data/windows.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using namespace programs::next_character;
using comet::RandomKey;
using comet::test::TemporaryDirectory;

namespace {

std::string read_back(std::span<const Symbol> symbols, const Alphabet& alphabet) {
  std::string text;
  for (const Symbol symbol : symbols) text += alphabet.byte(symbol);
  return text;
}

std::vector<std::string> names_of(const std::vector<std::filesystem::path>& files) {
  std::vector<std::string> names;
  for (const auto& file : files) names.push_back(file.filename().string());
  return names;
}

}  // namespace

TEST_CASE("Alphabet: bytes of any encoding; those that it has not seen share a symbol",
          "[next_character][data]") {
  const Alphabet alphabet(
      "b\xC3\xA4"
      "a\n");
  CHECK(alphabet.size() == 6);
  CHECK(alphabet.symbol('\n') == 0);
  CHECK(alphabet.symbol('a') == 1);
  CHECK(alphabet.symbol('\xC3') == 4);
  CHECK(alphabet.symbol('z') == 5);
  CHECK(alphabet.byte(5) == '?');
  CHECK(alphabet == Alphabet::of_bytes(alphabet.bytes()));
  const std::vector<std::uint8_t> twice = {1, 1};
  CHECK_THROWS_WITH(Alphabet::of_bytes(twice), "the bytes do not ascend");

  std::string all;
  for (int byte = 255; byte >= 0; --byte) all += char(byte);
  const Alphabet full(all);
  CHECK(full.size() == 256);
  CHECK_FALSE(full.has_unknown());
  full.number(all);
  CHECK(as_symbols(all)[0] == 255);
}

TEST_CASE("text_files: what is a text in a folder, and what is left out",
          "[next_character][data]") {
  const TemporaryDirectory directory;
  for (const char* const folder : {"below", ".git", "site-packages"})
    std::filesystem::create_directory(directory.path() / folder);
  (void)directory.write("b.py", "b");
  (void)directory.write("a.txt", "a");
  (void)directory.write("below/c.py", "c");
  (void)directory.write(".hidden.py", "d");
  (void)directory.write(".git/config", "e");
  (void)directory.write("site-packages/f.py", "f");
  (void)directory.write("image", std::string("\x89PNG\0", 5));
  std::filesystem::create_symlink(directory.path() / "b.py", directory.path() / "link.py");
  using Names = std::vector<std::string>;
  CHECK(names_of(text_files(directory.path(), {})) == Names{"a.txt", "b.py", "c.py"});
  CHECK(names_of(text_files(directory.path(), {".py"})) == Names{"b.py", "c.py"});
  CHECK(names_of(text_files(directory.path() / "image", {".py"})) == Names{"image"});
  CHECK_THROWS_WITH(text_files(directory.path(), {".c", ".h"}),
                    EndsWith(": holds no file whose name ends with .c or .h"));
  CHECK_THROWS_WITH(text_files(directory.path() / ".git" / "nothing", {}),
                    EndsWith(": there is no such file or folder"));
}

TEST_CASE("cut_between_files: whole files, unless they are too large or too small",
          "[next_character][data]") {
  using Ends = std::vector<std::size_t>;
  CHECK(cut_between_files(Ends{60, 85, 95, 100}, 100, 10) == 85);  // 15 is as near as 5
  CHECK(cut_between_files(Ends{60, 92, 100}, 100, 10) == 92);
  CHECK(cut_between_files(Ends{60, 96, 100}, 100, 10) == 90);  // 4 is less than half
  CHECK(cut_between_files(Ends{79, 100}, 100, 10) == 90);      // 21 is more than twice
  CHECK(cut_between_files(Ends{100}, 100, 10) == 90);
  CHECK(cut_between_files(Ends{60, 80, 92, 100}, 92, 10) == 80);  // files behind it do not count
}

TEST_CASE("read_text: files in the order of the key, the last of them held out",
          "[next_character][data]") {
  const TemporaryDirectory directory;
  for (int file = 0; file < 50; ++file)
    (void)directory.write(std::to_string(file) + ".txt", std::string(40, char('A' + file)));
  const TextOptions options{.data = directory.path().string()};
  const Text text = read_text(options, 8, RandomKey(3));
  CHECK(text.files == 50);
  CHECK(text.numbered.size() == 2000);
  CHECK(text.test().size() == 200);  // a tenth, as whole files
  CHECK(text.validation().size() == 80);
  CHECK(text.train().size() == 1720);
  CHECK(text.alphabet.bytes().size() == 43);  // of what is trained on

  const std::string train = read_back(text.train(), text.alphabet);
  std::set<char> seen;
  for (std::size_t file = 0; file < 43; ++file) {
    seen.insert(train[40 * file]);
    CHECK(train.substr(40 * file, 40) == std::string(40, train[40 * file]));
  }
  CHECK(seen.size() == 43);
  CHECK(text.test()[0] == text.alphabet.size() - 1);  // a character that nobody has seen

  CHECK(read_text(options, 8, RandomKey(3)).numbered == text.numbered);
  CHECK(read_text(options, 8, RandomKey(4)).numbered != text.numbered);
  const Text whole = read_whole(options, text.alphabet, 8);
  CHECK(whole.test().size() == 2000);
  CHECK(whole.train().empty());
}

TEST_CASE("read_text: what cannot be used is refused in a line", "[next_character][data][error]") {
  const TemporaryDirectory directory;
  const auto refused = [&](const std::string& content, const std::string& reason, Index window) {
    const std::string file = directory.write("text", content).string();
    CHECK_THROWS_WITH(read_text({.data = file}, window, RandomKey(1)), file + ": " + reason);
  };
  refused("", "is empty", 4);
  refused("abcd", "has 4 characters, and a window of 4 needs more", 4);
  refused(std::string(1000, 'a'), "is made of one symbol only: there is nothing to predict", 4);
  refused("abcdefghijabcdefghij",
          "is too short: the part that is held out has 2 characters, and a window of 4 needs more",
          4);
  CHECK_THROWS_WITH(read_text({.data = "/nowhere"}, 4, RandomKey(1)),
                    "/nowhere: there is no such file or folder");
}

TEST_CASE("Windows: what stands before a place, and there", "[next_character][data]") {
  std::string text = "abcdef";
  const Alphabet alphabet(text);
  alphabet.number(text);
  Windows windows(as_symbols(text), 3);
  REQUIRE(windows.size() == 3);
  const Batch batch = windows.gather(2, [](std::size_t i) { return 2 - 2 * i; });
  using Ids = std::vector<std::int32_t>;
  CHECK(Ids(batch.before.begin(), batch.before.end()) == Ids{2, 3, 4, 0, 1, 2});
  CHECK(Ids(batch.last.begin(), batch.last.end()) == Ids{4, 2});
  CHECK(Ids(batch.next.begin(), batch.next.end()) == Ids{5, 3});
  CHECK_THROWS_WITH(Windows(as_symbols(text), 6),
                    "a window of 6 is too long for a part of the text that has 6 characters");
}
