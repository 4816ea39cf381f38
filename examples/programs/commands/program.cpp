// SPDX-License-Identifier: MIT
#include <programs/commands/program.hpp>

#include <exception>
#include <new>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include <comet/core/errors.hpp>
#include <comet/version.hpp>

#include <programs/base/file_error.hpp>
#include <programs/base/interrupt.hpp>
#include <programs/commands/usage.hpp>
#include <programs/training/diverged.hpp>

namespace programs {
namespace {

constexpr int success = 0;
constexpr int unforeseen = 1;
constexpr int bad_input = 2;
constexpr int ended_by_signal = 130;  // as shells have it for Ctrl-C

std::string version() {
  return std::to_string(COMET_VERSION_MAJOR) + "." + std::to_string(COMET_VERSION_MINOR) + "." +
         std::to_string(COMET_VERSION_PATCH);
}

}  // namespace

void start_program(CLI::App& program) {
  program.require_subcommand(1);
  use_plain_help(program);
  program.set_version_flag("--version", program.get_name() + ' ' + version());
}

int run_program(CLI::App& program, int argc, const char* const* argv, const Console& console) {
  const auto fail = [&](int code, std::string_view reason) {
    console.err << program.get_name() << ": ";
    for (const char c : reason) console.err << (c == '\n' ? ' ' : c);
    console.err << std::endl;
    return code;
  };
  // Of an option with a value that is given twice one would count and the other be lost without a
  // word; a flag says the same again.
  for (CLI::App* command : program.get_subcommands({}))
    for (CLI::Option* option : command->get_options())
      if (option->get_items_expected_max() == 0)
        option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  // Last, because commands inherit it.
  program.footer(program.get_name() +
                 " COMMAND --help tells more. Exit status: 0 if all went well, 2 for bad\n"
                 "options or data, 130 if interrupted, 1 for anything else.");
  try {
    program.parse(argc, argv);
    console.out.flush();
    if (!console.out) return fail(unforeseen, "the results cannot be written");
    return success;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return program.exit(error, console.out, console.err);
    return fail(bad_input, what_was_wrong(program, error));
  } catch (const FileError& error) {
    return fail(bad_input, error.what());
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
    return fail(unforeseen, error.what());
  }
}

}  // namespace programs
