// SPDX-License-Identifier: MIT
#include <movielens/training/run.hpp>

#include <filesystem>

#include <movielens/base/files.hpp>
#include <movielens/base/parse_json.hpp>
#include <movielens/base/places.hpp>
#include <movielens/data/ratings.hpp>
#include <movielens/report/report.hpp>

namespace movielens {

Dataset load(const TrainOptions& options) {
  const Ratings ratings = read_ratings(options.data, options.table);
  const auto seed = static_cast<std::uint64_t>(options.split_seed.value_or(options.seed));
  return {.source = source_of(ratings.file),
          .ratings = ratings.size(),
          .rows = make_two_task_data(ratings, RandomKey(seed).fold(places::data)),
          .user_ids = ratings.user_ids,
          .item_ids = ratings.item_ids,
          .notes = ratings.notes};
}

std::optional<RunResult> finished_run(const TrainOptions& options, const Dataset& data) {
  const std::filesystem::path out = options.out;
  if (!std::filesystem::exists(out / "result.json")) return std::nullopt;
  const Json json = parse_json(read_file(out / "result.json"));
  if (json.is_discarded() || !json.contains("options") || json["options"] != to_json(options) ||
      json.value("source", "") != data.source)
    return std::nullopt;
  if (options.weights && !std::filesystem::exists(out / "model.safetensors")) return std::nullopt;
  return run_result_from(json);
}

RunResult run(const TrainOptions& options, const Dataset& data, const Console& console) {
  if (options.resume) {
    if (const auto finished = finished_run(options, data)) {
      remove_file(std::filesystem::path(options.out) / "checkpoint.safetensors");
      return *finished;
    }
  }
  return options.gate == "hash" ? run_hash_gate(options, data, console)
                                : run_feature_gate(options, data, console);
}

}  // namespace movielens
