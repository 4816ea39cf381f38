// SPDX-License-Identifier: MIT
#include <programs/commands/program.hpp>

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <ostream>
#include <span>
#include <stdexcept>
#include <streambuf>
#include <string>

#include <CLI/CLI.hpp>

#include <comet/core/errors.hpp>
#include <programs/base/file_error.hpp>
#include <programs/base/interrupt.hpp>
#include <programs/base/ranks.hpp>
#include <programs/base/version.hpp>
#include <programs/commands/command_line.hpp>
#include <programs/commands/mpi.hpp>
#include <programs/commands/usage.hpp>
#include <programs/training/diverged.hpp>

namespace programs {
namespace {

constexpr int success = 0;
constexpr int unforeseen = 1;
constexpr int bad_input = 2;
constexpr int ended_by_signal = 130;  // as shells have it for Ctrl-C

/// Takes everything and keeps nothing.
struct Nowhere : std::streambuf {
  int overflow(int c) override { return traits_type::not_eof(c); }
};

/// Of many processes each would write the files of the others.
void refuse_ranks(CLI::App& program, const Ranks& ranks) {
  const auto commands = program.get_subcommands({});
  const bool trains = std::any_of(commands.begin(), commands.end(), [](const CLI::App* command) {
    return command->get_name() == "train";
  });
  const std::string but = trains ? "; train runs on several" : "";
  for (CLI::App* command : commands)
    if (command->get_name() != "train")
      command->parse_complete_callback([command, but, &ranks] {
        throw std::invalid_argument(command->get_name() + " runs in one process, and there are " +
                                    std::to_string(ranks.size()) + but);
      });
}

}  // namespace

void start_program(CLI::App& program) {
  program.require_subcommand(1);
  use_plain_help(program);
  const std::string mpi = mpi_version();
  program.set_version_flag("--version", program.get_name() + ' ' + version() +
                                            "\nMPI: " + (mpi.empty() ? "not built in" : mpi));
}

int run_program(CLI::App& program, int argc, const char* const* argv, const Console& console) {
  const auto named = [&](const std::string& reason) {
    return program.get_name() + ": rank " + std::to_string(console.ranks->rank()) + ": " + reason;
  };
  const auto fail = [&](int code, std::string reason) {
    std::replace(reason.begin(), reason.end(), '\n', ' ');
    if (console.ranks != nullptr) console.ranks->fail(code, named(reason));
    console.err << program.get_name() << ": " << reason << std::endl;
    return code;
  };
  const auto success_if_written = [&] {
    console.out.flush();
    return console.out ? success : fail(unforeseen, "the results cannot be written");
  };
  if (console.ranks != nullptr) refuse_ranks(program, *console.ranks);
  // Of an option with a value that is given twice one would count and the other be lost without a
  // word; a flag says the same again.
  for (CLI::App* command : program.get_subcommands({}))
    for (CLI::Option* option : command->get_options())
      if (option->get_items_expected_max() == 0)
        option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  read_numbers_as_written(program);
  // Last, because commands inherit it.
  program.footer(program.get_name() +
                 " COMMAND --help tells more. Exit status: 0 if all went well, 2 for bad\n"
                 "options or data, 130 if interrupted, 1 for anything else.");
  try {
    if (const std::string lacks = what_lacks_an_item(
            program, std::span(argv, std::size_t(argc)).subspan(argc > 0 ? 1 : 0));
        !lacks.empty())
      return fail(bad_input, lacks);
    program.parse(argc, argv);
    return success_if_written();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return fail(bad_input, what_was_wrong(program, error));
    if (console.ranks != nullptr)  // else ranks that train would wait for one that has ended
      console.ranks->fail(bad_input, named("asks for help or the version, and not all ranks do"));
    program.exit(error, console.out, console.err);
    return success_if_written();
  } catch (const FileError& error) {
    return fail(bad_input, error.what());
  } catch (const std::filesystem::filesystem_error& error) {  // a name that is too long, say
    return fail(bad_input, FileError(error.path1(), error.code().message()).what());
  } catch (const Interrupted& error) {
    return fail(ended_by_signal, error.what());
  } catch (const std::invalid_argument& error) {
    return fail(bad_input, error.what());
  } catch (const Diverged& error) {  // by its options
    return fail(bad_input, error.what());
  } catch (const comet::NotFinite& error) {
    return fail(bad_input, error.what());
  } catch (const std::bad_alloc&) {
    return fail(bad_input, "not enough memory for a model or a data set of this size");
  } catch (const std::exception& error) {
    // Of LibTorch's words the first line says what, all others where.
    const std::string what = error.what();
    return fail(unforeseen, what.substr(0, what.find('\n')));
  }
}

int run_main(int argc, char** argv, int (*run)(int, const char* const*, const Console&)) {
  // A reader that goes away (`| head`), or a file as large as the system allows (`ulimit -f`), is a
  // failed write, not the end of a training without a word.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  return run_among_ranks(argc, argv, [&](Ranks* ranks) {
    if (speaks(ranks))
      return run(argc, argv,
                 {.out = std::cout,
                  .err = std::cerr,
                  .err_is_terminal = ::isatty(STDERR_FILENO) == 1,
                  .ranks = ranks});
    Nowhere nowhere;
    std::ostream silent(&nowhere);
    return run(argc, argv, {.out = silent, .err = silent, .ranks = ranks});
  });
}

}  // namespace programs
