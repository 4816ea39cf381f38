// SPDX-License-Identifier: MIT
#include <programs/report/gnuplot.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <ostream>
#include <system_error>

#include <programs/base/files.hpp>
#include <programs/base/utf8.hpp>

namespace programs {
namespace {

constexpr int not_found = 127;

/// The exit code of gnuplot. \param directory  where it runs
int run_gnuplot(const std::filesystem::path& directory, const std::string& script) {
  const pid_t child = ::fork();
  if (child < 0) return not_found;
  if (child == 0) {
    // Its warnings, of a range with one value for example, are not ours to show.
    const int nowhere = ::open("/dev/null", O_WRONLY);
    if (nowhere >= 0) ::dup2(nowhere, STDERR_FILENO);
    if (::chdir(directory.c_str()) == 0) ::execlp("gnuplot", "gnuplot", script.c_str(), nullptr);
    ::_exit(not_found);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/// gnuplot is content with an empty file if a picture is too large for its library: that is none.
bool has_content(const std::filesystem::path& picture) {
  std::error_code error;
  if (std::filesystem::file_size(picture, error) > 0 && !error) return true;
  std::filesystem::remove(picture, error);
  return false;
}

std::string script_of(const Plot& plot) {
  std::string script = "# gnuplot " + plot.name + ".gp\n";
  for (const std::string format : {"png", "svg"})
    script += "reset\nset terminal " + format + (format == "png" ? "cairo" : "") +
              " noenhanced size " + std::to_string(plot.width) + "," + std::to_string(plot.height) +
              " background rgb 'white' font 'sans,12'\nset output '" + plot.name + "." + format +
              "'\nset datafile separator tab\nset datafile missing '-'\n"
              "set grid lc rgb '#dddddd'\n" +
              plot.commands + "\nunset output\n";
  return script;
}

}  // namespace

std::string gnuplot_string(const std::string& text) {
  std::string result = "'";
  for (const char c : printable(text)) result += c == '\'' ? std::string("''") : std::string(1, c);
  return result + "'";
}

std::vector<bool> draw(const std::vector<Plot>& plots, const std::filesystem::path& directory,
                       const Console& console) {
  for (const Plot& plot : plots) {
    write_atomically(directory / (plot.name + ".tsv"), plot.data);
    write_atomically(directory / (plot.name + ".gp"), script_of(plot));
  }
  std::vector<bool> drawn(plots.size(), false);
  for (std::size_t i = 0; i < plots.size(); ++i) {
    const int code = run_gnuplot(directory, plots[i].name + ".gp");
    bool is_whole = code == 0;
    for (const char* const ending : {".png", ".svg"})
      is_whole = has_content(directory / (plots[i].name + ending)) && is_whole;
    drawn[i] = is_whole;
    if (code == not_found) {
      console.err << "gnuplot is not installed, so there are no pictures; their data and scripts "
                     "are in "
                  << directory.string() << std::endl;
      break;
    }
    if (!is_whole)
      console.err << "gnuplot could not draw " << (directory / plots[i].name).string() << ".gp"
                  << std::endl;
  }
  return drawn;
}

}  // namespace programs
