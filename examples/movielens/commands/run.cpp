// SPDX-License-Identifier: MIT
#include <movielens/commands/run.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>

#include <movielens/data/ratings.hpp>
#include <movielens/data/titles.hpp>
#include <movielens/model/build_model.hpp>
#include <movielens/model/model.hpp>
#include <movielens/model/model_file.hpp>
#include <movielens/model/named_rows.hpp>
#include <movielens/model/two_task.hpp>
#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>
#include <programs/base/places.hpp>

namespace programs::movielens {
namespace {

RunDescription description_of(const TrainOptions& options, const Dataset& data) {
  return {.options = to_json(options),
          .source = data.source,
          .counts = counts_of(data),
          .content = fingerprint_of(data),
          .rows = {{"train", data.rows.train.size()},
                   {"validation", data.rows.validation.size()},
                   {"test", data.rows.test.size()}}};
}

/// None if they cannot be read: a training needs no titles.
Titles titles_of(const TrainOptions& options, const Dataset& data) {
  try {
    return read_titles(options.data, data.item_column);
  } catch (const FileError&) {
    return {};
  }
}

}  // namespace

Dataset load(const TrainOptions& options) {
  const comet::RandomKey key(static_cast<std::uint64_t>(options.split_seed.value_or(options.seed)));
  return load_dataset(options.data, options.table, key.fold(places::data));
}

void tell_notes(const Dataset& data, const Console& console) {
  print_notes(data.notes, console.err);
}

Json counts_of(const Dataset& data) {
  return {
      {"ratings", data.ratings}, {"users", data.rows.num_users}, {"items", data.rows.num_items}};
}

const ResultWords& result_words() {
  static const ResultWords words = {
      .measures = {{"mse", "test rating MSE"}, {"auc", "test watch AUC"}}};
  return words;
}

std::optional<RunResult> finished_run(const TrainOptions& options, const Dataset& data) {
  return finished_run(options, description_of(options, data));
}

RunResult run(const TrainOptions& options, const Dataset& data, const Console& console) {
  Ranks* const ranks = console.ranks;
  const RunDescription description = description_of(options, data);
  expect_same_run(ranks, options, description);
  if (options.resume) {
    if (const auto finished = finished_run(options, description)) {
      if (speaks(ranks)) remove_file(std::filesystem::path(options.out) / "checkpoint.safetensors");
      return *finished;
    }
  }
  Model model = build_model(options, data.rows.num_users, data.item_frequency());
  if (!options.from_pretrained.empty() && !goes_on(options)) {
    const ModelFile file(options.from_pretrained);
    check_ids(file, data.user_ids, data.item_ids, data.source);
    file.load(model);
  }
  comet::ThreadPool pool(threads_of_rank(options.threads, ranks));
  TwoTask task(model, data.rows, std::size_t(options.batch_size), task_weights(options), &pool,
               ranks);
  return run_training(
      task, options, trainer_options(options, task.num_batches()), description, pool, console,
      [&](const std::filesystem::path& path, const TrainingResult& result) {
        save_model(path, model, options, data, result.annealing);
      },
      [&] { return decision_paths(model, data, titles_of(options, data)); });
}

}  // namespace programs::movielens
