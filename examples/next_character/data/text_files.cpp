// SPDX-License-Identifier: MIT
#include <next_character/data/text_files.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <span>
#include <system_error>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>

namespace programs::next_character {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest_piece = std::size_t{1} << 16;

/// 11 of "python3.11"; -1 of anything else.
int minor_version(const std::string& name) {
  constexpr std::string_view prefix = "python3.";
  if (!name.starts_with(prefix)) return -1;
  int version = -1;
  const char* const end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + prefix.size(), end, version);
  return error == std::errc() && rest == end ? version : -1;
}

[[noreturn]] void refuse(const fs::path& path, const char* what) {
  throw FileError(path, std::string(what) + ": " + std::strerror(errno));
}

std::ifstream opened(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) refuse(file, "cannot be opened");
  return stream;
}

bool has_ending(const fs::path& file, const std::vector<std::string>& endings) {
  const std::string name = file.filename().string();
  return std::any_of(endings.begin(), endings.end(),
                     [&](const std::string& ending) { return name.ends_with(ending); });
}

/// As version control tells texts from other files.
bool looks_like_text(const fs::path& file) {
  std::array<char, 8000> bytes = {};
  std::ifstream stream = opened(file);
  stream.read(bytes.data(), std::streamsize(bytes.size()));
  return std::find(bytes.begin(), bytes.begin() + stream.gcount(), '\0') ==
         bytes.begin() + stream.gcount();
}

bool is_left_out(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with('.') || name == "site-packages" || name == "dist-packages";
}

std::vector<fs::path> files_below(const fs::path& folder, const std::vector<std::string>& endings) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  if (error) throw FileError(folder, "cannot be read: " + error.message());
  for (; entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    const fs::path& path = entry->path();
    if (is_left_out(path)) {
      if (entry->is_directory(error)) entry.disable_recursion_pending();
      continue;
    }
    if (entry->is_symlink(error) || !entry->is_regular_file(error)) continue;
    if (endings.empty() ? looks_like_text(path) : has_ending(path, endings)) files.push_back(path);
  }
  if (error) throw FileError(folder, "cannot be read: " + error.message());
  std::sort(files.begin(), files.end());
  return files;
}

std::string list_of(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : " or ") + name;
  return list;
}

/// 0 for what has none, a pipe for example.
std::size_t size_of(const fs::path& file) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(file, error);
  return error ? 0 : std::size_t(size);
}

/// Adds what is in a file, in pieces: it may have become longer.
void append(const fs::path& file, std::string& text) {
  std::ifstream stream = opened(file);
  for (std::size_t piece = size_of(file) + 1; stream; piece = longest_piece) {
    const std::size_t before = text.size();
    text.resize(before + piece);
    stream.read(text.data() + before, std::streamsize(piece));
    text.resize(before + std::size_t(stream.gcount()));
  }
  if (stream.bad()) refuse(file, "cannot be read");
}

}  // namespace

fs::path python_library() {
  fs::path newest;
  int version = -1;
  for (const char* const place :
       {"/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib"}) {
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(place, error)) {
      const int found = minor_version(entry.path().filename().string());
      // Packages that were installed by hand have such a folder, too, without the library.
      if (found <= version || !fs::exists(entry.path() / "os.py", error)) continue;
      version = found;
      newest = entry.path();
    }
  }
  return newest;
}

std::vector<fs::path> text_files(const fs::path& path, const std::vector<std::string>& endings) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) throw FileError(path, "there is no such file or folder");
  if (fs::is_character_file(status) || fs::is_block_file(status) || fs::is_socket(status))
    throw FileError(path, "is neither a file nor a folder");
  if (!fs::is_directory(status)) return {path};
  std::vector<fs::path> files = files_below(path, endings);
  if (files.empty())
    throw FileError(path, endings.empty()
                              ? "holds no file that looks like a text"
                              : "holds no file whose name ends with " + list_of(endings));
  return files;
}

bool is_below(const fs::path& path, const std::vector<std::string>& endings, const fs::path& file) {
  std::error_code none;
  if (!fs::is_directory(path, none)) return false;
  const fs::path folder = real_path(path);
  const fs::path below = real_path(file).lexically_relative(folder);
  if (below.empty() || *below.begin() == "..") return false;
  return std::none_of(below.begin(), below.end(), is_left_out) &&
         (endings.empty() || has_ending(below, endings));
}

JoinedFiles read_shuffled(std::vector<fs::path> files, comet::RandomKey key) {
  key.shuffle(std::span(files));
  std::size_t size = longest_piece;
  for (const fs::path& file : files) size += size_of(file);
  JoinedFiles joined;
  joined.text.reserve(size);
  for (const fs::path& file : files) {
    append(file, joined.text);
    joined.ends.push_back(joined.text.size());
  }
  return joined;
}

}  // namespace programs::next_character
