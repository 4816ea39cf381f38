// SPDX-License-Identifier: MIT
#include <memory>
#include <ostream>
#include <string>

#include <CLI/CLI.hpp>

#include <movielens/commands/commands.hpp>
#include <movielens/data/synthetic.hpp>
#include <programs/commands/command_line.hpp>

namespace programs::movielens {
namespace {

struct SynthesizeOptions {
  std::string directory;
  SyntheticOptions set;
};

void synthesize(const SynthesizeOptions& options, const Console& console) {
  const SyntheticOptions& set = options.set;
  expect_at_least("--seed", set.seed, 0);
  const std::string source = "synthetic, NOT MovieLens: " + std::to_string(set.users) + " users, " +
                             std::to_string(set.items) + " items, " + std::to_string(set.ratings) +
                             " ratings, seed " + std::to_string(set.seed);
  write_synthetic(options.directory, make_synthetic_ratings(set), source);
  console.out << options.directory << ": " << source << '\n';
}

}  // namespace

void add_synthesize(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "synthesize", "Make up ratings in MovieLens format, for places without network");
  auto options = std::make_shared<SynthesizeOptions>();
  const auto option = [&](const char* name, auto& value, const char* help) {
    command->add_option(name, value, help)
        ->type_name("N")
        ->capture_default_str()
        ->check(what_is_empty);
  };
  command->add_option("DIR", options->directory, "for ratings.csv, movies.csv and SOURCE")
      ->type_name("")
      ->required()
      ->check(what_is_empty);
  option("--users", options->set.users, "number of users");
  option("--items", options->set.items, "number of movies");
  option("--ratings", options->set.ratings, "number of ratings");
  option("--seed", options->set.seed, "the ratings are a function of it");
  command->callback([options, console] { synthesize(*options, console); });
}

}  // namespace programs::movielens
