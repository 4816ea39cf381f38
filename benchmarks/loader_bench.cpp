// SPDX-License-Identifier: MIT
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <unistd.h>

#include <benchmark/benchmark.h>

#include <comet/core/random.hpp>
#include <movielens/data/batches.hpp>
#include <movielens/data/ratings.hpp>
#include <movielens/data/synthetic.hpp>
#include <movielens/data/two_task.hpp>

/// \file
/// \brief From a file of ratings to batches, beside reading the file's bytes and no more.

namespace {

/// Made-up ratings of MovieLens' shape, in a folder that goes with the program.
class RatingsFile {
 public:
  explicit RatingsFile(std::int64_t ratings)
      : folder_(std::filesystem::temp_directory_path() /
                ("loader_bench." + std::to_string(getpid()) + '.' + std::to_string(ratings))) {
    std::filesystem::create_directories(folder_);
    programs::movielens::write_synthetic(
        folder_,
        programs::movielens::make_synthetic_ratings(
            {.users = std::int32_t(ratings / 160), .items = 3706, .ratings = ratings}),
        "synthetic");
  }
  RatingsFile(const RatingsFile&) = delete;
  RatingsFile& operator=(const RatingsFile&) = delete;
  ~RatingsFile() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  [[nodiscard]] std::filesystem::path path() const { return folder_ / "ratings.csv"; }

 private:
  std::filesystem::path folder_;
};

void count(benchmark::State& state, const std::filesystem::path& file, std::int64_t rows) {
  state.SetBytesProcessed(state.iterations() * std::int64_t(std::filesystem::file_size(file)));
  state.SetItemsProcessed(state.iterations() * rows);
}

void bytes(benchmark::State& state) {
  const RatingsFile file(state.range(0));
  std::vector<char> buffer(1 << 20);
  for (auto _ : state) {
    std::ifstream in(file.path(), std::ios::binary);
    while (in.read(buffer.data(), std::streamsize(buffer.size())) || in.gcount() > 0)
      benchmark::DoNotOptimize(buffer.data());
  }
  count(state, file.path(), state.range(0));
}

void read(benchmark::State& state) {
  const RatingsFile file(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(programs::movielens::read_ratings(file.path()));
  count(state, file.path(), state.range(0));
}

void split(benchmark::State& state) {
  const RatingsFile file(state.range(0));
  const auto ratings = programs::movielens::read_ratings(file.path());
  for (auto _ : state)
    benchmark::DoNotOptimize(programs::movielens::make_two_task_data(ratings, comet::RandomKey(1)));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void epoch(benchmark::State& state) {
  const RatingsFile file(state.range(0));
  const auto data = programs::movielens::make_two_task_data(
      programs::movielens::read_ratings(file.path()), comet::RandomKey(1));
  programs::movielens::Batches batches(data.train, 512);
  std::uint64_t number = 0;
  for (auto _ : state) {
    batches.shuffle(comet::RandomKey(number++));
    for (std::size_t b = 0; b < batches.size(); ++b) benchmark::DoNotOptimize(batches[b]);
  }
  state.SetItemsProcessed(state.iterations() * std::int64_t(data.train.size()));
}

BENCHMARK(bytes)->Name("loader/bytes/ratings")->Arg(100'000)->Arg(1'000'000)->UseRealTime();
BENCHMARK(read)->Name("loader/read/ratings")->Arg(100'000)->Arg(1'000'000)->UseRealTime();
BENCHMARK(split)->Name("loader/split/ratings")->Arg(100'000)->Arg(1'000'000)->UseRealTime();
BENCHMARK(epoch)->Name("loader/epoch/ratings")->Arg(100'000)->Arg(1'000'000)->UseRealTime();

}  // namespace
