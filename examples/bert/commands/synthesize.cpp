// SPDX-License-Identifier: MIT
#include <cstdint>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <comet/core/random.hpp>

#include <bert/commands/commands.hpp>
#include <bert/data/synthetic.hpp>
#include <programs/commands/command_line.hpp>

namespace programs::bert {
namespace {

struct SynthesizeOptions {
  std::string directory;
  std::int64_t train = 4000;
  std::int64_t dev = 500;
  std::int64_t seed = 1;
};

void synthesize(const SynthesizeOptions& o, const Console& console) {
  constexpr std::int64_t most = 10'000;
  for (const auto& [flag, count] : {std::pair("--train", o.train), std::pair("--dev", o.dev)}) {
    expect_at_least(flag, count, 2);
    expect_at_most(flag, count, most);
  }
  expect_at_least("--seed", o.seed, 0);
  const std::string source = "synthetic, NOT CoLA: " + std::to_string(o.train) + " and " +
                             std::to_string(o.dev) + " made-up sentences, seed " +
                             std::to_string(o.seed);
  const std::vector<Example> all = make_synthetic_sentences(
      o.train + o.dev, comet::RandomKey(static_cast<std::uint64_t>(o.seed)));
  const std::span<const Example> examples(all);
  write_synthetic(o.directory, examples.first(std::size_t(o.train)),
                  examples.subspan(std::size_t(o.train)), source);
  console.out << o.directory << ": " << source << '\n';
}

}  // namespace

void add_synthesize(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "synthesize", "Make up sentences in the form of CoLA, for places without network");
  auto o = std::make_shared<SynthesizeOptions>();
  const auto option = [&](const char* name, auto& value, const char* help) {
    command->add_option(name, value, help)
        ->type_name("N")
        ->capture_default_str()
        ->check(what_is_empty);
  };
  command->add_option("DIR", o->directory, "for CoLA/train.tsv, CoLA/dev.tsv and SOURCE")
      ->type_name("")
      ->required()
      ->check(what_is_empty);
  option("--train", o->train, "sentences to train on");
  option("--dev", o->dev, "sentences to judge by");
  option("--seed", o->seed, "the sentences are a function of it");
  command->callback([o, console] { synthesize(*o, console); });
}

}  // namespace programs::bert
