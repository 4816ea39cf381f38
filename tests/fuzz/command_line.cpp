// SPDX-License-Identifier: MIT
// Command lines, one argument a line, in an empty directory: an exit code, and on failure one line
// that says why. Nothing is trained, since there are no data; what writes is kept small.
#include <stdlib.h>  // mkdtemp, setenv
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include <movielens/commands/program.hpp>

#include <fuzz/fuzz.hpp>

namespace {

using comet::fuzz::expect;

/// The directory that all runs work in, removed at the end.
class Place {
 public:
  Place() {
    const std::filesystem::path memory = "/dev/shm";
    std::string name =
        ((std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path()) /
         "comet_fuzz_XXXXXX")
            .string();
    expect(::mkdtemp(name.data()) != nullptr && ::chdir(name.c_str()) == 0, "there is a directory");
    directory_ = name;
    ::setenv("PATH", "", 1);  // no other programs
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  void clear() const {
    for (const auto& entry : std::filesystem::directory_iterator(directory_))
      std::filesystem::remove_all(entry.path());
  }

 private:
  std::filesystem::path directory_;
};

/// Stays in the directory, and asks for nothing that takes long.
bool is_harmless(const std::string& argument) {
  const std::size_t equals = argument.find('=');
  const std::string value = equals == std::string::npos ? argument : argument.substr(equals + 1);
  const double number = std::strtod(value.c_str(), nullptr);
  return argument.find('/') == std::string::npos && argument.find("..") == std::string::npos &&
         !(number > 300);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Place place;
  std::vector<std::string> arguments;
  std::istringstream lines(std::string(reinterpret_cast<const char*>(data), size));
  for (std::string line; std::getline(lines, line) && arguments.size() < 32;)
    if (is_harmless(line)) arguments.push_back(line.c_str());  // up to a zero byte, as in argv
  std::vector<const char*> argv = {"movielens"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());

  std::ostringstream out;
  std::ostringstream err;
  const int code = programs::movielens::run(static_cast<int>(argv.size()), argv.data(),
                                            {.out = out, .err = err, .err_is_terminal = false});
  expect(code == 0 || code == 2, "the exit code is that of success or of bad input");
  const std::string message = err.str();
  if (code == 2)
    expect(message.starts_with("movielens: ") && message.find('\n') == message.size() - 1,
           "a failure is one line");
  place.clear();
  return 0;
}
