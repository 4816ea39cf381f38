// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <span>
#include <string>

#include <comet/io/atomic_file.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using comet::AtomicFile;
using comet::FileError;
using comet::test::content_of;
using comet::test::TemporaryDirectory;
namespace fs = std::filesystem;

namespace {

void save(const fs::path& file, const std::string& text) {
  AtomicFile output(file);
  output.write(std::as_bytes(std::span(text)));
  output.commit();
}

std::size_t files_in(const fs::path& directory) {
  return std::size_t(std::distance(fs::directory_iterator(directory), {}));
}

unsigned mode_of(const fs::path& file) { return unsigned(fs::status(file).permissions()); }

}  // namespace

TEST_CASE("a file appears whole, or not at all") {
  const TemporaryDirectory directory;
  const auto file = directory.write("file", "old");
  {
    AtomicFile output(file);
    output.write(std::as_bytes(std::span("new", 3)));
    CHECK(content_of(file) == "old");
    output.commit();
  }
  CHECK(content_of(file) == "new");
  {
    AtomicFile output(file);
    output.write(std::as_bytes(std::span("lost", 4)));
  }
  CHECK(content_of(file) == "new");
  CHECK(files_in(directory.path()) == 1);
}

TEST_CASE("a file may have as long a name as the system takes") {
  const TemporaryDirectory directory;
  for (const std::size_t size : {1U, 200U, 240U, 250U, 255U}) {
    const fs::path file = directory.path() / std::string(size, 'n');
    {
      AtomicFile output(file);
      output.write(std::as_bytes(std::span("lost", 4)));
    }
    CHECK(files_in(directory.path()) == 0);
    save(file, "new");
    CHECK(content_of(file) == "new");
    fs::remove(file);
  }
  CHECK_THROWS_WITH(save(directory.path() / std::string(256, 'n'), "new"),
                    ContainsSubstring("File name too long"));
  // Two that are being written at once, and differ in their ends only.
  AtomicFile first(directory.path() / (std::string(249, 'n') + 'a'));
  AtomicFile second(directory.path() / (std::string(249, 'n') + 'b'));
  CHECK(files_in(directory.path()) == 2);
}

TEST_CASE("a symbolic link stays one, and what it leads to is replaced") {
  const TemporaryDirectory directory;
  const auto inner = directory.path() / "inner";
  fs::create_directory(inner);
  const auto target = directory.write("inner/target", "old");
  // Relative to where it is, and a link to the link.
  fs::create_symlink("inner/target", directory.path() / "link");
  fs::create_symlink(directory.path() / "link", inner / "second");
  save(directory.path() / "link", "new");
  CHECK(content_of(target) == "new");
  save(inner / "second", "newer");
  CHECK(content_of(target) == "newer");
  CHECK(fs::is_symlink(directory.path() / "link"));
  CHECK(fs::is_symlink(inner / "second"));
  CHECK_FALSE(fs::is_symlink(target));
  CHECK(files_in(inner) == 2);
  // One that leads to nothing yet makes it there.
  fs::create_symlink("inner/fresh", directory.path() / "dangling");
  save(directory.path() / "dangling", "made");
  CHECK(content_of(inner / "fresh") == "made");
  CHECK(fs::is_symlink(directory.path() / "dangling"));
  // One that leads to itself is refused.
  fs::create_symlink("circle", directory.path() / "circle");
  CHECK_THROWS_AS(save(directory.path() / "circle", "x"), FileError);
  fs::create_symlink(inner, directory.path() / "to_directory");
  CHECK_THROWS_WITH(
      save(directory.path() / "to_directory", "x"),
      (directory.path() / "to_directory").string() + ": cannot be written: it is a directory");
}

TEST_CASE("the mode of a file that is replaced is kept; a new one has the usual mode") {
  const TemporaryDirectory directory;
  const auto file = directory.write("file", "old");
  for (const unsigned mode : {0600U, 0640U, 0755U, 0444U}) {
    CAPTURE(mode);
    fs::permissions(file, fs::perms(mode));
    save(file, "new");
    CHECK(mode_of(file) == mode);
  }
  const ::mode_t before = ::umask(027);
  save(directory.path() / "fresh", "new");
  ::umask(before);
  CHECK(mode_of(directory.path() / "fresh") == 0640U);
  // Through a link too, and the file beside it is never more open than the old one.
  const auto secret = directory.write("secret", "old");
  fs::permissions(secret, fs::perms(0600));
  fs::create_symlink(secret, directory.path() / "link");
  AtomicFile output(directory.path() / "link");
  for (const auto& entry : fs::directory_iterator(directory.path()))
    if (entry.path().string().find(".tmp.") != std::string::npos)
      CHECK(mode_of(entry.path()) == 0600U);
  output.commit();
  CHECK(mode_of(secret) == 0600U);
}

TEST_CASE("pipes and devices are written to and stay what they are; directories are refused") {
  const TemporaryDirectory directory;
  const auto pipe = directory.path() / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  auto reader = std::async(std::launch::async, [&] { return content_of(pipe); });
  save(pipe, "through the pipe");
  CHECK(reader.get() == "through the pipe");
  CHECK(fs::is_fifo(pipe));
  CHECK_NOTHROW(save("/dev/null", "gone"));
  CHECK(fs::is_character_file("/dev/null"));
  CHECK_THROWS_WITH(save("/dev/full", "x"),
                    "/dev/full: cannot be written: No space left on device");
  const auto inner = directory.path() / "inner";
  fs::create_directory(inner);
  CHECK_THROWS_WITH(save(inner, "x"), inner.string() + ": cannot be written: it is a directory");
  CHECK_THROWS_WITH(
      save(inner / "none" / "file", "x"),
      (inner / "none" / "file").string() + ": cannot be written: No such file or directory");
  CHECK(files_in(directory.path()) == 2);
}

TEST_CASE("what is open is written to where it stands, and is not replaced") {
  const TemporaryDirectory directory;
  const auto file = directory.write("file", "before");
  const int open = ::open(file.c_str(), O_RDWR);
  REQUIRE(open >= 0);
  REQUIRE(::lseek(open, 0, SEEK_END) == 6);
  const std::string number = std::to_string(open);
  save("/dev/fd/" + number, " first");
  REQUIRE(::write(open, " between", 8) == 8);
  fs::create_symlink("/proc/self/fd/" + number, directory.path() / "link");
  save(directory.path() / "link", " second");
  CHECK(content_of(file) == "before first between second");
  // Nor does it come back under its old name.
  fs::remove(file);
  save("/proc/self/fd/" + number, " third");
  CHECK(::lseek(open, 0, SEEK_CUR) == 33);
  CHECK(files_in(directory.path()) == 1);
  ::close(open);
}

TEST_CASE("the owner and the group of a file that is replaced are kept") {
  const TemporaryDirectory directory;
  const auto file = directory.write("file", "old");
  constexpr ::uid_t somebody = 12345;
  if (::chown(file.c_str(), somebody, somebody + 1) != 0) {
    WARN("only root can give files away: skipped");
    return;
  }
  fs::permissions(file, fs::perms(0640));
  save(file, "new");
  struct stat now = {};
  REQUIRE(::stat(file.c_str(), &now) == 0);
  CHECK(now.st_uid == somebody);
  CHECK(now.st_gid == somebody + 1);
  CHECK(mode_of(file) == 0640U);
  CHECK(content_of(file) == "new");
}
