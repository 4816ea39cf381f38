// SPDX-License-Identifier: MIT
#include <movielens/commands/run.hpp>

#include <cstddef>
#include <filesystem>

#include <comet/core/thread_pool.hpp>

#include <movielens/base/files.hpp>
#include <movielens/model/gates.hpp>
#include <movielens/model/model_builder.hpp>
#include <movielens/model/model_file.hpp>
#include <movielens/model/two_task.hpp>

namespace movielens {
namespace {

RunDescription description_of(const TrainOptions& options, const Dataset& data) {
  return {.options = to_json(options),
          .source = data.source,
          .counts = data.counts(),
          .rows = data.row_counts()};
}

/// \brief Trains the model with gates of one kind.
/// \param make_gate  callable with a key
template <class MakeGate>
RunResult run_gate(const TrainOptions& o, const Dataset& data, const Console& console,
                   MakeGate make_gate) {
  auto model = build_model(o, data.rows.num_users, data.rows.num_items, make_gate);
  using Gate = typename decltype(model)::GateType;
  if (!o.from_pretrained.empty() && !goes_on(o)) {
    const ModelFile file(o.from_pretrained);
    check_ids(file, data.user_ids, data.item_ids, data.source);
    file.load(model);
  }
  comet::ThreadPool pool(o.threads);
  TwoTask<Gate> task(model, data.rows, std::size_t(o.batch_size),
                     {.watched = o.task_weights[0], .rating = o.task_weights[1]}, &pool);
  return run_training(task, o, description_of(o, data), pool, console,
                      [&](const std::filesystem::path& path) { save_model(path, model, o, data); });
}

}  // namespace

const std::vector<ResultColumn>& result_columns() {
  static const std::vector<ResultColumn> columns = {{"mse", "test rating MSE"},
                                                    {"auc", "test watch AUC"}};
  return columns;
}

std::optional<RunResult> finished_run(const TrainOptions& options, const Dataset& data) {
  return finished_run(options, description_of(options, data));
}

RunResult run(const TrainOptions& options, const Dataset& data, const Console& console) {
  if (options.resume) {
    if (const auto finished = finished_run(options, data)) {
      remove_file(std::filesystem::path(options.out) / "checkpoint.safetensors");
      return *finished;
    }
  }
  return with_gate_maker(options, data.item_frequency(), [&](auto make_gate) {
    return run_gate(options, data, console, make_gate);
  });
}

}  // namespace movielens
