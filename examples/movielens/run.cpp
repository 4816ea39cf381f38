// SPDX-License-Identifier: MIT
#include <movielens/run.hpp>

#include <movielens/places.hpp>
#include <movielens/ratings.hpp>

namespace movielens {

Dataset load(const TrainOptions& options) {
  const Ratings ratings = read_ratings(options.data, options.columns);
  const auto seed = static_cast<std::uint64_t>(options.split_seed.value_or(options.seed));
  return {.source = source_of(ratings.file),
          .ratings = ratings.size(),
          .rows = make_two_task_data(ratings, RandomKey(seed).fold(places::data))};
}

RunResult run(const TrainOptions& options, const Dataset& data, const Console& console) {
  if (options.gate == "comet") return run_comet(options, data, console);
  if (options.gate == "dselect_k") return run_dselect_k(options, data, console);
  if (options.gate == "top_k") return run_top_k(options, data, console);
  if (options.gate == "hash") return run_hash(options, data, console);
  return run_softmax(options, data, console);
}

}  // namespace movielens
