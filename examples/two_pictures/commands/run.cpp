// SPDX-License-Identifier: MIT
#include <two_pictures/commands/run.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>

#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>

#include <programs/base/files.hpp>
#include <programs/base/places.hpp>
#include <two_pictures/model/build_model.hpp>
#include <two_pictures/model/model_file.hpp>
#include <two_pictures/model/named_examples.hpp>
#include <two_pictures/model/picture_task.hpp>

namespace programs::two_pictures {
namespace {

RunDescription description_of(const TrainOptions& options, const Dataset& data) {
  return {.options = to_json(options),
          .source = data.source,
          .counts = counts_of(data),
          .content = fingerprint_of(data),
          .rows = {{"train", data.train.size()},
                   {"validation", data.validation.size()},
                   {"test", data.test.size()}}};
}

}  // namespace

Dataset load(const TrainOptions& options) {
  const comet::RandomKey key(static_cast<std::uint64_t>(options.split_seed.value_or(options.seed)));
  return read_dataset(options.pictures, key.fold(places::data));
}

void check_fits(const TrainOptions& options, const Dataset& data) {
  (void)model_of(options, data.train);
}

Json counts_of(const Dataset& data) {
  return {{"pictures", data.train.num_pictures()}, {"classes", data.train.num_classes()}};
}

const ResultWords& result_words() {
  static const ResultWords words = {
      .measures = {{"accuracy", "test accuracy"}, {"multiply_adds", "multiply-adds/canvas", 0}},
      .samples = "canvas"};
  return words;
}

std::optional<RunResult> finished_run(const TrainOptions& options, const Dataset& data) {
  return programs::finished_run(options, description_of(options, data));
}

RunResult run(const TrainOptions& options, const Dataset& data, const Console& console) {
  Ranks* const ranks = console.ranks;
  const RunDescription description = description_of(options, data);
  expect_same_run(ranks, options, description);
  if (options.resume) {
    if (const auto finished = programs::finished_run(options, description)) {
      if (speaks(ranks)) remove_file(std::filesystem::path(options.out) / "checkpoint.safetensors");
      return *finished;
    }
  }
  Model model = build_model(options, model_of(options, data.train), data.train.num_pictures());
  if (!options.from_pretrained.empty() && !goes_on(options)) {
    const ModelFile file(options.from_pretrained);
    file.check_examples(data);
    file.load(model);
  }
  comet::ThreadPool pool(threads_of_rank(options.threads, ranks));
  PictureTask task(model, data, std::size_t(options.batch_size), &pool, ranks);
  return run_training(
      task, options, trainer_options(options, task.num_batches()), description, pool, console,
      [&](const std::filesystem::path& path, const TrainingResult& result) {
        save_model(path, model, options, data, result.annealing);
      },
      [&] { return decision_paths(model, data); });
}

}  // namespace programs::two_pictures
