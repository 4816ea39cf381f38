// SPDX-License-Identifier: MIT
#include <bert/model_commands/run.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>

#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>

#include <bert/model/bert_task.hpp>
#include <bert/model/build_model.hpp>
#include <bert/model/evaluation.hpp>
#include <bert/model/model_file.hpp>
#include <bert/model/network.hpp>
#include <bert/model/optimizer.hpp>
#include <programs/base/files.hpp>
#include <programs/base/places.hpp>

namespace programs::bert {
namespace {

RunDescription description_of(const TrainOptions& options, const StudyData& data) {
  return {.options = to_json(options),
          .source = data.source,
          .counts = counts_of(data),
          .content = fingerprint_of(data),
          .rows = {{"train", data.train.size()}, {"dev", data.dev.size()}}};
}

/// With a warm-up and a straight way down to 0 over all steps; the last weights count.
TrainerOptions trainer_options(const TrainOptions& o, std::size_t batches) {
  const auto of_epochs = std::int64_t(batches) * o.epochs;
  const std::int64_t steps = o.steps > 0 ? std::min(o.steps, of_epochs) : of_epochs;
  const auto warm_up = std::int64_t(std::floor(o.warm_up * double(steps)));
  return {.adam = {.learning_rate = learning_rate(o.learning_rate, warm_up, steps),
                   .weight_decay = o.weight_decay,
                   .groups = undecayed()},
          .clip_norm = o.clip_norm,
          .epochs = o.epochs,
          .patience = o.epochs,
          .keeps_last = true,
          .steps = steps,
          .sparsity = o.distils ? sparsity_of(o, o.sparse_by) : std::nullopt};
}

}  // namespace

const ResultWords& result_words() {
  static const ResultWords words = {
      .measures = {{"score", "dev score"},
                   {"loss", "dev loss"},
                   {"hidden_error", "hidden error"},
                   {"divergence", "divergence"},
                   {"mean_effective_experts", "effective experts", 2},
                   {"multiply_adds", "multiply-adds/token", 0},
                   {"tokens_per_second", "tokens/s", 0},
                   {"trained_tokens_per_second", "trained/s", 0, true}},
      .samples = "token",
      .rows = "dev rows"};
  return words;
}

std::optional<RunResult> finished_run(const TrainOptions& options, const StudyData& data) {
  return programs::finished_run(options, description_of(options, data));
}

RunResult run(const TrainOptions& options, const StudyData& data, const Console& console) {
  check(options, data);
  if (options.resume) {
    if (const auto finished = finished_run(options, data)) {
      remove_file(std::filesystem::path(options.out) / "checkpoint.safetensors");
      return *finished;
    }
  }
  comet::ThreadPool pool(options.threads);
  use_one_torch_thread();
  Bert<float> model = start_model(options, data);
  if (!options.from_pretrained.empty() && !goes_on(options)) {
    Bert<float> whole = data.whole(model);
    const ModelFile file(options.from_pretrained);
    expect_vocabulary(file, options, data);
    file.load(whole);
    model = data.pieces->cut(whole);
  }
  BertTask task(model, options.distils ? data.model.get() : nullptr, data,
                {.lambda = options.distils ? options.lambda : 0, .dropout = options.dropout},
                Index(options.batch_size));
  const RunDescription description = description_of(options, data);
  return run_training(
      task, options, trainer_options(options, task.num_batches()), description, pool, console,
      [&](const std::filesystem::path& path, const TrainingResult& result) {
        save_model(path, data.whole(model), options, data.whole_config(), description.content,
                   data.vocabulary, result.annealing);
      },
      [] { return Json::array(); });
}

Json twin_of(const StudyData& data, const RunResult& mixture) {
  const BertConfig& teacher = data.model->config();
  const double a_layer = mixture.training.test.measure("multiply_adds") / double(teacher.layers);
  const double attention = dense_cost(teacher, 0);
  const double a_unit = dense_cost(teacher, 1) - attention;
  const auto units = Index(std::lround((a_layer - attention) / a_unit));
  return {{"gate", dense_wide},
          {"local_search", no_search},
          {"units", std::clamp(units, Index(1), teacher.intermediate)}};
}

RunResult judge_teacher(const TrainOptions& options, const StudyData& data) {
  use_one_torch_thread();
  RunResult result;
  result.parameters = comet::count_parameters(*data.model);
  const auto start = std::chrono::steady_clock::now();
  result.training.test =
      evaluate(*data.model, data.model.get(), data, data.dev, Index(options.batch_size));
  result.training.test_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace programs::bert
