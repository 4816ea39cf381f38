// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>

#include <CLI/CLI.hpp>

#include <comet/core/random.hpp>

#include <next_character/commands/commands.hpp>
#include <next_character/model/model_file.hpp>
#include <next_character/model/writer.hpp>
#include <programs/base/text_table.hpp>
#include <programs/commands/command_line.hpp>

namespace programs::next_character {
namespace {

struct SampleOptions {
  std::string model;
  std::string beginning = "def ";
  int length = 400;
  double temperature = 0.5;
  std::int64_t seed = 1;
};

void sample(const SampleOptions& o, const Console& console) {
  expect_at_least("--length", o.length, 0);
  expect_at_least("--seed", o.seed, 0);
  if (!(o.temperature >= 0 && std::isfinite(o.temperature)))
    throw std::invalid_argument(
        formatted("--temperature is %g, expected a number >= 0", o.temperature));
  const ModelFile file(o.model);
  const Model model = file.model();
  Writer writer(model, file.alphabet(), file.options().model.window,
                {.temperature = o.temperature});
  console.out << o.beginning
              << writer.write(o.beginning, std::size_t(o.length),
                              comet::RandomKey(static_cast<std::uint64_t>(o.seed)))
              << '\n';
}

}  // namespace

void add_sample(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand("sample", "Write text as a trained model would go on");
  auto o = std::make_shared<SampleOptions>();
  add_model_file(*command, o->model);
  const auto option = [&](const char* name, auto& value, const char* type, const char* help) {
    command->add_option(name, value, help)->type_name(type)->capture_default_str();
  };
  option("--beginning", o->beginning, "TEXT", "what it goes on from");
  option("--length", o->length, "N", "characters to write");
  option("--temperature", o->temperature, "X",
         "1 writes as it predicts, less is more careful, 0 takes the likeliest character");
  option("--seed", o->seed, "N", "the text is a function of it");
  command->callback([o, console] { sample(*o, console); });
}

}  // namespace programs::next_character
