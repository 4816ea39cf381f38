// SPDX-License-Identifier: MIT
#include <programs/training/run.hpp>

#include <algorithm>
#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>
#include <programs/base/kinds.hpp>
#include <programs/training/decision_paths.hpp>
#include <programs/training/run_files.hpp>

namespace programs {
namespace {

std::filesystem::path checkpoint_of(const CommonOptions& options) {
  return std::filesystem::path(options.out) / checkpoint_name;
}

/// What a table needs of a result.json.
RunResult run_result_from(const Json& json) {
  RunResult result;
  result.training.test = figures_from(json.at("test"));
  result.training.epochs = json.at("epochs");
  result.training.best_epoch = json.at("best_epoch");
  result.training.seconds = json.at("seconds");
  result.training.seconds_per_epoch = json.at("seconds_per_epoch");
  result.training.test_seconds = json.value("test_seconds", 0.0);
  result.parameters = json.at("parameters");
  return result;
}

/// What a result.json has that is of another training; empty if it is of this one.
std::string what_differs(const Json& json, const RunDescription& description) {
  Json there = json.at("options"), here = description.options;
  there["source"] = json.value("source", "");
  here["source"] = description.source;
  // Results of before do not say it.
  there["content"] = json.value("content", description.content);
  here["content"] = description.content;
  return other_training(there, here);
}

}  // namespace

std::string data_line(const std::string& source, const Json& counts) {
  std::string line = "data: " + source;
  const char* separator = ": ";
  for (const auto& [name, count] : counts.items()) {
    line += separator + count.dump() + " " + name;
    separator = ", ";
  }
  return line;
}

bool goes_on(const CommonOptions& options) {
  return options.resume && std::filesystem::exists(checkpoint_of(options));
}

std::optional<RunResult> finished_run(const CommonOptions& options,
                                      const RunDescription& description) {
  const std::filesystem::path out = options.out;
  if (!std::filesystem::exists(out / result_name)) return std::nullopt;
  // To begin anew in silence would cost the model that is there.
  const auto refuse = [&](const std::string& why) {
    throw FileError(out / result_name,
                    why + "; another --out keeps it, without --resume it is replaced");
  };
  try {
    const Json json = parse_json(read_file(out / result_name));
    if (const std::string other = what_differs(json, description); !other.empty()) refuse(other);
    const RunResult result = run_result_from(json);
    if (options.weights && !std::filesystem::exists(out / model_name)) return std::nullopt;
    return result;
  } catch (const Json::exception&) {
    refuse("is not what a training writes");
  }
  return std::nullopt;
}

void expect_same_run(Ranks* ranks, const CommonOptions& options,
                     const RunDescription& description) {
  if (ranks == nullptr) return;
  const std::filesystem::path out = options.out;
  Json run = description.options;
  run.update({{"data", description.content},
              {"resume", options.resume},
              {"record", options.record},
              {"record_every", options.record_every},
              {"checkpoint_every", options.checkpoint_every.value_or(-1)},
              {"a checkpoint", std::filesystem::exists(checkpoint_of(options))},
              {"a result", std::filesystem::exists(out / result_name)}});
  expect_same(ranks, run);
}

TrainerOptions trainer_options(const CommonOptions& o, std::size_t batches) {
  return {.adam = {.learning_rate = o.learning_rate},
          .epochs = o.epochs,
          .patience = o.patience,
          .sparsity = sparsity_of(o, o.sparse_by * std::int64_t(batches))};
}

std::optional<comet::SparsityControllerOptions> sparsity_of(const CommonOptions& o,
                                                            std::int64_t sparse_by) {
  if (sparse_by == 0) return std::nullopt;
  comet::SparsityControllerOptions options{
      .k = double(o.k), .sparse_by = sparse_by, .gamma = o.gamma};
  options.entropy = std::max(options.entropy, o.entropy);
  options.max_entropy = std::max(options.max_entropy, o.entropy);
  return options;
}

void remove_unfinished(const std::filesystem::path& directory,
                       const std::vector<std::string>& names) {
  std::vector<std::filesystem::path> unfinished;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    for (const std::string& name : names)
      if (entry.path().filename().string().starts_with(name + ".tmp."))
        unfinished.push_back(entry.path());
  for (const auto& path : unfinished) remove_file(path);
}

namespace detail {

void refuse_over_ranks(const CommonOptions& options, bool gates_depend_on_batch,
                       const Ranks& ranks) {
  if (gates_depend_on_batch)
    throw std::invalid_argument("--gate " + options.gate +
                                " looks at all rows of a batch and runs in one process, and there "
                                "are " +
                                std::to_string(ranks.size()));
}

Checkpoints checkpoints_of(const CommonOptions& options, const RunDescription& description) {
  Json run = description.options;
  run["source"] = description.source;
  run["content"] = description.content;
  run.update(description.counts);
  return {.file = checkpoint_of(options),
          .every = options.checkpoint_every,
          .resume = options.resume,
          .run = std::move(run)};
}

FileLock hold_directory(const std::filesystem::path& directory) {
  std::optional<FileLock> held = FileLock::try_for(directory / metrics_name);
  if (!held)
    throw FileError(directory, "another training is writing to it; give each an --out of its own");
  return std::move(*held);
}

void start_directory(const std::filesystem::path& directory, bool resume) {
  make_directories(directory);
  const std::vector<std::string> results = {result_name, model_name, checkpoint_name,
                                            decision_paths_name};
  if (!resume)
    for (const std::string& name : results) remove_file(directory / name);
  remove_unfinished(directory, results);
}

void tell_start(const CommonOptions& options, const RunDescription& description,
                comet::Index parameters, const Console& console) {
  console.err << data_line(description.source, description.counts) << "\ngate: " << options.gate
              << (options.local_search == no_search ? ""
                                                    : ", " + options.local_search + " local search")
              << ", " << parameters << " parameters; results in "
              << std::filesystem::path(options.out).string()
              << (goes_on(options) ? "; goes on from its checkpoint" : "") << std::endl;
}

void tell_end(const CommonOptions& options, const TrainingResult& result, const Console& console) {
  const auto& gates = gate_names();
  if (std::find(gates.begin(), gates.end(), options.gate) == gates.end()) return;
  const std::string constant = constant_gates(result.test);
  if (!constant.empty())
    console.err << "note: " << constant
                << "; --spread, --split-scale and --load-balance work against it" << std::endl;
}

void write_decision_paths(const CommonOptions& options, const Json& paths) {
  if (paths.empty()) return;
  write_atomically(std::filesystem::path(options.out) / decision_paths_name, paths.dump() + "\n");
}

void write_result(const CommonOptions& options, const RunDescription& description,
                  const RunResult& result, comet::Index threads, comet::Index ranks) {
  Json json = {{"source", description.source}};
  json.update(description.counts);
  json["content"] = description.content;
  json.update({{"rows", description.rows},
               {"options", description.options},
               {"parameters", result.parameters},
               {"epochs", result.training.epochs},
               {"best_epoch", result.training.best_epoch},
               {"test", to_json(result.training.test)},
               {"threads", threads},
               {"seconds_per_epoch", result.training.seconds_per_epoch},
               {"test_seconds", result.training.test_seconds},
               {"seconds", result.training.seconds}});
  if (ranks > 1) json["ranks"] = ranks;
  write_atomically(std::filesystem::path(options.out) / result_name, json.dump(2) + "\n");
}

}  // namespace detail
}  // namespace programs
