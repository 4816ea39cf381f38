// SPDX-License-Identifier: MIT
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include <comet/io/file_error.hpp>

#include <two_pictures/data/idx.hpp>

#include <examples/two_pictures/set_files.hpp>
#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using namespace programs::two_pictures;
using namespace comet::test;

namespace {

/// What a file of these bytes is refused with, but for its name.
template <class Read>
std::string refused(Read read, const Bytes& bytes, bool packed = false) {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "file";
  packed ? write_packed(file, bytes) : write(file, bytes);
  try {
    (void)read(file);
  } catch (const comet::FileError& error) {
    const std::string text = error.what();
    CHECK(text.starts_with(file.string() + ": "));
    return text.substr(file.string().size() + 2);
  }
  return "not refused";
}

}  // namespace

TEST_CASE("idx: pictures and labels, packed or not, whatever the name", "[two_pictures][data]") {
  const TemporaryDirectory directory;
  const Bytes pixels = numbered_pictures(5);
  const Bytes pictures = idx(0x803, {5, 4, 3}, pixels), labels = idx(0x801, {3}, {7, 0, 9});
  for (const bool packed : {false, true})
    for (const char* const name : {"a", "a.gz"}) {
      CAPTURE(packed, name);
      const auto file = directory.path() / name;
      packed ? write_packed(file, pictures) : write(file, pictures);
      const Pictures read = read_pictures(file);
      CHECK(read.size() == 5);
      CHECK(read.height == 4);
      CHECK(read.width == 3);
      CHECK(read.pixels == pixels);
      CHECK(read[2].front() == 2);
      CHECK(read[2].size() == 12);
      packed ? write_packed(file, labels) : write(file, labels);
      CHECK(read_labels(file) == Bytes{7, 0, 9});
    }
}

TEST_CASE("idx: what is none is refused in one line that names file and reason",
          "[two_pictures][data]") {
  const Bytes good = idx(0x803, {2, 4, 3}, numbered_pictures(2));
  const auto changed = [&](auto change) {
    Bytes bytes = good;
    change(bytes);
    return bytes;
  };
  for (const bool packed : {false, true}) {
    CAPTURE(packed);
    CHECK(refused(read_pictures, {}, packed) == "is empty");
    CHECK(refused(read_pictures, changed([](Bytes& b) { b.pop_back(); }), packed) ==
          "is cut off: it has 23 of the 24 bytes that its header promises");
    CHECK(refused(read_pictures, changed([](Bytes& b) { b.push_back(0); }), packed) ==
          "is longer than the 24 bytes that its header promises");
    CHECK(refused(read_pictures, changed([](Bytes& b) { b.resize(9); }), packed) ==
          "is cut off: it has 9 bytes, its header 16");
    CHECK(refused(read_labels, good, packed) ==
          "is no idx file of labels: it begins with 0x00000803, expected 0x00000801");
    CHECK(refused(read_pictures, idx(0x803, {0, 4, 3}, {}), packed) == "holds no picture");
    CHECK(refused(read_pictures, idx(0x803, {1, 0, 3}, {}), packed) ==
          "holds pictures of 0 x 3 pixels, expected 1 to 1024 a side");
    // More than any machine has memory for.
    CHECK(refused(read_pictures, idx(0x803, {0xffffffff, 1024, 1024}, {1, 2}), packed) ==
          "is cut off: it has 2 of the 4503599626321920 bytes that its header promises");
  }
  const Bytes text = {'<', '!', 'D', 'O', 'C', 'T', 'Y', 'P', 'E'};
  CHECK(refused(read_pictures, text) ==
        "is no idx file of pictures: it begins with 0x3c21444f, expected 0x00000803");
}

TEST_CASE("idx: a packed file that is damaged or cut off", "[two_pictures][data]") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "file";
  write_packed(file, idx(0x803, {200, 4, 3}, numbered_pictures(200)));
  const std::string whole = content_of(file);
  const auto refused_as = [&](const std::string& bytes) {
    return refused(read_pictures, Bytes(bytes.begin(), bytes.end()));
  };
  CHECK(refused_as(whole.substr(0, whole.size() / 2)) ==
        "is cut off: the packed file ends in the middle");
  std::string damaged = whole;
  for (std::size_t i = 20; i < 60; ++i) damaged[i] = char(0xff);
  CHECK(refused_as(damaged).starts_with("is a damaged gz file: "));
  CHECK(refused_as(whole.substr(0, 2) + "no gz after all").starts_with("is "));
  // All pictures are there, the check sum behind them is not.
  for (const std::size_t missing : {1U, 4U, 8U})
    CHECK(refused_as(whole.substr(0, whole.size() - missing)) ==
          "is cut off: the packed file ends in the middle");
  damaged = whole;
  damaged[whole.size() - 6] ^= 1;
  CHECK(refused_as(damaged) == "is a damaged gz file: incorrect data check");
  for (const std::string& garbage :
       {std::string("garbage"), std::string(8, '\0'), whole.substr(0, 1)})
    CHECK(refused_as(whole + garbage).starts_with("is "));

  // Members one behind the other are one file.
  const Bytes all = idx(0x803, {200, 4, 3}, numbered_pictures(200));
  write_packed(file, Bytes(all.begin(), all.begin() + 700));
  const std::string first = content_of(file);
  write_packed(file, Bytes(all.begin() + 700, all.end()));
  const std::string both = first + content_of(file);
  write(file, Bytes(both.begin(), both.end()));
  CHECK(read_pictures(file).pixels == numbered_pictures(200));
}

TEST_CASE("idx: a file that is not there, or is a folder", "[two_pictures][data]") {
  const TemporaryDirectory directory;
  CHECK_THROWS_WITH(read_pictures(directory.path() / "none"),
                    EndsWith("cannot be opened: No such file or directory"));
  CHECK_THROWS_WITH(read_pictures(directory.path()), EndsWith("is a folder"));
  // It would be waited for, or read, without end.
  const auto pipe = directory.path() / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  for (const std::filesystem::path& file : {pipe, std::filesystem::path("/dev/zero")})
    CHECK_THROWS_WITH(read_pictures(file), EndsWith("is not a regular file"));
}
