// SPDX-License-Identifier: MIT
#include <movielens/commands/program.hpp>

#include <exception>
#include <new>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>

#include <comet/core/errors.hpp>
#include <comet/version.hpp>

#include <movielens/base/file_error.hpp>
#include <movielens/base/interrupt.hpp>
#include <movielens/commands/commands.hpp>
#include <movielens/commands/usage.hpp>

namespace movielens {
namespace {

constexpr int success = 0;
constexpr int unforeseen = 1;
constexpr int bad_input = 2;
constexpr int interrupted = 130;  // as shells have it for Ctrl-C

int fail(const Console& console, int code, std::string_view reason) {
  console.err << "movielens: ";
  for (const char c : reason) console.err << (c == '\n' ? ' ' : c);
  console.err << std::endl;
  return code;
}

std::string version() {
  return std::to_string(COMET_VERSION_MAJOR) + "." + std::to_string(COMET_VERSION_MINOR) + "." +
         std::to_string(COMET_VERSION_PATCH);
}

}  // namespace

int run(int argc, const char* const* argv, const Console& console) {
  CLI::App program("Trains sparse mixtures of experts on MovieLens ratings.", "movielens");
  program.require_subcommand(1);
  // The last of repeated options counts, so that a script's can be overridden.
  program.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  use_plain_help(program);
  program.set_version_flag("--version", "movielens " + version());
  add_train(program, console);
  add_compare(program, console);
  add_tune(program, console);
  add_evaluate(program, console);
  add_recommend(program, console);
  add_budget(program, console);
  add_report(program, console);
  add_synthesize(program, console);
  // Last, because commands inherit it.
  program.footer(
      "movielens COMMAND --help tells more. Exit status: 0 if all went well, 2 for bad\n"
      "options or data, 130 if interrupted, 1 for anything else.");
  try {
    program.parse(argc, argv);
    console.out.flush();
    if (!console.out) return fail(console, unforeseen, "the results cannot be written");
    return success;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return program.exit(error, console.out, console.err);
    return fail(console, bad_input, what_was_wrong(program, error));
  } catch (const FileError& error) {
    return fail(console, bad_input, error.what());
  } catch (const Interrupted& error) {
    return fail(console, interrupted, error.what());
  } catch (const std::invalid_argument& error) {
    return fail(console, bad_input, error.what());
  } catch (const comet::NotFinite& error) {  // it diverged: by its options
    return fail(console, bad_input, error.what());
  } catch (const std::bad_alloc&) {
    return fail(console, bad_input, "not enough memory for a model or a data set of this size");
  } catch (const std::exception& error) {
    return fail(console, unforeseen, error.what());
  }
}

}  // namespace movielens
