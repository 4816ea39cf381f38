// SPDX-License-Identifier: MIT
#include <next_character/commands/run.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>

#include <comet/core/random.hpp>
#include <comet/core/schedule.hpp>
#include <comet/core/thread_pool.hpp>

#include <next_character/model/build_model.hpp>
#include <next_character/model/character_task.hpp>
#include <next_character/model/model_file.hpp>
#include <next_character/model/named_places.hpp>
#include <next_character/model/optimizer.hpp>
#include <programs/base/files.hpp>
#include <programs/base/places.hpp>

namespace programs::next_character {
namespace {

RunDescription description_of(const TrainOptions& options, const Text& text) {
  return {.options = to_json(options),
          .source = text.source,
          .counts = counts_of(text),
          .content = fingerprint_of(text),
          .rows = {{"train", text.train().size()},
                   {"validation", text.validation().size()},
                   {"test", text.test().size()}}};
}

TrainerOptions trainer_options(const TrainOptions& o) {
  const auto epochs = int((o.steps + o.validate_every - 1) / o.validate_every);
  return {.adam = {.learning_rate = learning_rate(o.learning_rate, o.warm_up, o.steps),
                   .weight_decay = o.weight_decay,
                   .groups = undecayed()},
          .clip_norm = o.clip_norm,
          .epochs = epochs,
          .patience = epochs,
          .steps = o.steps,
          .sparsity = sparsity_of(o, o.sparse_by)};
}

}  // namespace

Text load(const TrainOptions& options) {
  const comet::RandomKey key(static_cast<std::uint64_t>(options.split_seed.value_or(options.seed)));
  return read_text(options.text, options.model.window, key.fold(places::data));
}

void check_fits(const TrainOptions& options, const Text& text) {
  const std::size_t shortest =
      std::min({text.train().size(), text.validation().size(), text.test().size()});
  if (std::size_t(options.model.window) >= shortest)
    throw std::invalid_argument("--window is " + std::to_string(options.model.window) +
                                ", expected less than the " + std::to_string(shortest) +
                                " characters of a part of the text");
}

Json counts_of(const Text& text) {
  return {{"characters", text.numbered.size()},
          {"symbols", text.alphabet.size()},
          {"files", text.files}};
}

const ResultWords& result_words() {
  static const ResultWords words = {
      .measures = {{"bits", "bits/character"}, {"multiply_adds", "multiply-adds/character", 0}},
      .samples = "character",
      .has_local_search = false,
      .is_timed_by_epoch = false};
  return words;
}

std::optional<RunResult> finished_run(const TrainOptions& options, const Text& text) {
  return programs::finished_run(options, description_of(options, text));
}

RunResult run(const TrainOptions& options, const Text& text, const Console& console) {
  Ranks* const ranks = console.ranks;
  const RunDescription description = description_of(options, text);
  expect_same_run(ranks, options, description);
  if (options.resume) {
    if (const auto finished = programs::finished_run(options, description)) {
      if (speaks(ranks)) remove_file(std::filesystem::path(options.out) / "checkpoint.safetensors");
      return *finished;
    }
  }
  Model model = build_model(options, symbol_frequency(text));
  if (!options.from_pretrained.empty() && !goes_on(options)) {
    const ModelFile file(options.from_pretrained);
    file.check_alphabet(text);
    file.load(model);
  }
  comet::ThreadPool pool(threads_of_rank(options.threads, ranks));
  CharacterTask task(model, text, options.model.window, std::size_t(options.batch_size),
                     std::size_t(options.validate_every), &pool, ranks);
  return run_training(
      task, options, trainer_options(options), description, pool, console,
      [&](const std::filesystem::path& path, const TrainingResult& result) {
        save_model(path, model, options, text, result.annealing);
      },
      [&] { return decision_paths(model, text, options.model.window); });
}

}  // namespace programs::next_character
