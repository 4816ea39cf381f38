// SPDX-License-Identifier: MIT
#include <filesystem>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using comet::test::content_of;
using comet::test::TemporaryDirectory;
using programs::FileError;
using programs::LineLog;
using programs::write_atomically;

namespace {

std::size_t entries_in(const std::filesystem::path& directory) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++count;
  return count;
}

}  // namespace

TEST_CASE("write_atomically: replaces the file and leaves nothing beside it",
          "[movielens][files]") {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "result.json";
  write_atomically(file, "old");
  write_atomically(file, "the new content");
  CHECK(content_of(file) == "the new content");
  CHECK(entries_in(directory.path()) == 1);
}

TEST_CASE("write_atomically: a failure leaves the old file and nothing beside it",
          "[movielens][files][error]") {
  const TemporaryDirectory directory;
  CHECK_THROWS_AS(write_atomically(directory.path() / "none" / "file", "x"), FileError);
  std::filesystem::create_directories(directory.path() / "taken" / "inside");
  CHECK_THROWS_AS(write_atomically(directory.path() / "taken", "x"), FileError);
  CHECK(entries_in(directory.path()) == 1);
}

TEST_CASE("LineLog: fresh or continued", "[movielens][files]") {
  const TemporaryDirectory directory;
  const auto file = directory.write("log", "left over\n");
  {
    LineLog log(file, LineLog::Open::fresh);
    log.append("{\"a\":1}");
    log.append("{\"a\":2}");
    CHECK(content_of(file) == "{\"a\":1}\n{\"a\":2}\n");  // nothing is held back
  }
  LineLog(file, LineLog::Open::append).append("{\"a\":3}");
  CHECK(content_of(file) == "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
  CHECK_THROWS_AS(LineLog(directory.path() / "none" / "log", LineLog::Open::fresh), FileError);
}

TEST_CASE("real_path: of what is not there yet, too", "[movielens][files]") {
  const TemporaryDirectory directory;
  const auto folder = std::filesystem::canonical(directory.path());
  std::filesystem::create_directory_symlink(folder, folder / "link");
  CHECK(programs::real_path(folder / "link" / "a" / ".." / "b") == folder / "b");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder);
  CHECK(programs::real_path("none/below") == folder / "none" / "below");
  CHECK(programs::real_path("link/below") == folder / "below");
  std::filesystem::current_path(before);
}

TEST_CASE("make_directories: all that is missing, or one clear line", "[movielens][files]") {
  const TemporaryDirectory directory;
  programs::make_directories(directory.path() / "a" / "b");
  CHECK(std::filesystem::is_directory(directory.path() / "a" / "b"));
  programs::make_directories(directory.path() / "a" / "b");
  (void)directory.write("file", "x");
  CHECK_THROWS_AS(programs::make_directories(directory.path() / "file"), FileError);
  CHECK_THROWS_AS(programs::make_directories(directory.path() / "file" / "c"), FileError);
}

TEST_CASE("source_of: what data say of themselves, else their folder", "[programs][files]") {
  const TemporaryDirectory directory;
  CHECK(programs::source_of(directory.path()) == directory.path().string());
  (void)directory.write("SOURCE", "made up\tby hand\nmore\n");
  CHECK(programs::source_of(directory.path()) == "made up by hand");
  (void)directory.write("SOURCE", "\nmore\n");
  CHECK(programs::source_of(directory.path()) == directory.path().string());
  (void)directory.write("SOURCE", std::string(1000, 'x'));
  CHECK(programs::source_of(directory.path()) == std::string(400, 'x'));
}
