// SPDX-License-Identifier: MIT
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>

#include <CLI/CLI.hpp>

#include <comet/core/random.hpp>

#include <programs/commands/command_line.hpp>
#include <two_pictures/commands/commands.hpp>
#include <two_pictures/data/synthetic.hpp>

namespace programs::two_pictures {
namespace {

struct SynthesizeOptions {
  std::string directory;
  int pictures = 12000;
  int test = 2000;
  std::int64_t seed = 1;
};

void synthesize(const SynthesizeOptions& o, const Console& console) {
  expect_at_least("--pictures", o.pictures, 20);
  expect_at_least("--test", o.test, 20);
  expect_at_least("--seed", o.seed, 0);
  const comet::RandomKey key(static_cast<std::uint64_t>(o.seed));
  const std::string source = "synthetic, NOT MNIST: " + std::to_string(o.pictures) + " and " +
                             std::to_string(o.test) + " digits of bars, seed " +
                             std::to_string(o.seed);
  write_synthetic(o.directory, make_synthetic_pictures(o.pictures, key.fold(0)),
                  make_synthetic_pictures(o.test, key.fold(1)), source);
  console.out << o.directory << ": " << source << '\n';
}

}  // namespace

void add_synthesize(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "synthesize", "Make up pictures in the format of MNIST, for places without network");
  auto o = std::make_shared<SynthesizeOptions>();
  const auto option = [&](const char* name, auto& value, const char* help) {
    command->add_option(name, value, help)
        ->type_name("N")
        ->capture_default_str()
        ->check(what_is_empty);
  };
  command->add_option("DIR", o->directory, "for the four files and SOURCE")
      ->type_name("")
      ->required()
      ->check(what_is_empty);
  option("--pictures", o->pictures, "to train on");
  option("--test", o->test, "to test with");
  option("--seed", o->seed, "the pictures are a function of it");
  command->callback([o, console] { synthesize(*o, console); });
}

}  // namespace programs::two_pictures
