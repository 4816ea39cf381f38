// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/parameters.hpp>
#include <comet/random.hpp>
#include <comet/thread_pool.hpp>
#include <comet/types.hpp>

#include <movielens/commands/commands.hpp>
#include <movielens/files.hpp>
#include <movielens/model.hpp>
#include <movielens/ratings.hpp>
#include <movielens/report.hpp>
#include <movielens/trainer.hpp>
#include <movielens/two_task.hpp>

namespace movielens {
namespace {

struct TrainOptions {
  std::string data;
  std::string gate = "comet";
  ModelOptions model;
  Index k = 2;
  double gamma = 1;
  double entropy = 0.05;
  std::vector<double> task_weights = {0.5, 0.5};
  double learning_rate = 5e-4;
  std::int64_t batch_size = 512;
  int epochs = 6;
  int patience = 25;
  std::int64_t seed = 1;
  int threads = 0;
  std::string out;
  bool quiet = false;
};

// Places below the key.
constexpr int data_place = 0;
constexpr int model_place = 1;
constexpr int gates_place = 2;
constexpr int training_place = 3;

template <class Value>
void check(bool holds, const char* option, Value value, const std::string& expectation) {
  if (holds) return;
  std::ostringstream text;
  text << option << " is " << value << ", expected " << expectation;
  throw std::invalid_argument(text.str());
}

/// Before anything is read or written.
void check(const TrainOptions& o) {
  const auto check_size = [](const char* option, Index value) {
    constexpr Index most = Index{1} << 20;
    check(value >= 1 && value <= most, option, value, "from 1 to " + std::to_string(most));
  };
  const auto check_strength = [](const char* option, double value) {
    check(value >= 0 && std::isfinite(value), option, value, "a number >= 0");
  };
  const auto check_positive = [](const char* option, double value) {
    check(value > 0 && std::isfinite(value), option, value, "a number > 0");
  };
  check_size("--experts", o.model.num_experts);
  check(o.k >= 1 && o.k <= o.model.num_experts, "--k", o.k,
        "from 1 to --experts = " + std::to_string(o.model.num_experts));
  check_positive("--gamma", o.gamma);
  check_strength("--entropy", o.entropy);
  check_strength("--task-weights", o.task_weights[0]);
  check_strength("--task-weights", o.task_weights[1]);
  check_positive("--learning-rate", o.learning_rate);
  check_size("--batch-size", o.batch_size);
  check_size("--epochs", o.epochs);
  check_size("--patience", o.patience);
  check_size("--embedding-dim", o.model.embedding_dim);
  check_size("--expert-dim", o.model.expert_dim);
  check_size("--head-dim", o.model.head_dim);
  check(o.model.dropout >= 0 && o.model.dropout < 1, "--dropout", o.model.dropout, "in [0, 1)");
  check(o.seed >= 0, "--seed", o.seed, "a whole number >= 0");
  check(o.threads >= 0 && o.threads <= 1024, "--threads", o.threads, "from 0 to 1024");
}

template <class Gate>
Gate make_gate(const TrainOptions& o, RandomKey key);

template <>
comet::CometGate<float> make_gate(const TrainOptions& o, RandomKey key) {
  return {{.input_dim = 2 * o.model.embedding_dim,
           .num_experts = o.model.num_experts,
           .k = o.k,
           .gamma = o.gamma,
           .entropy = o.entropy},
          key};
}

template <>
comet::TopKGate<float> make_gate(const TrainOptions& o, RandomKey key) {
  return {{.input_dim = 2 * o.model.embedding_dim, .num_experts = o.model.num_experts, .k = o.k},
          key};
}

Json to_json(const TrainOptions& o) {
  Json json = {{"gate", o.gate},
               {"experts", o.model.num_experts},
               {"k", o.k},
               {"task_weights", o.task_weights},
               {"learning_rate", o.learning_rate},
               {"batch_size", o.batch_size},
               {"epochs", o.epochs},
               {"patience", o.patience},
               {"embedding_dim", o.model.embedding_dim},
               {"expert_dim", o.model.expert_dim},
               {"head_dim", o.model.head_dim},
               {"dropout", o.model.dropout},
               {"seed", o.seed}};
  if (o.gate == "comet") {
    json["gamma"] = o.gamma;
    json["entropy"] = o.entropy;
  }
  return json;
}

/// Writes every epoch to a file and, unless it is to be quiet, to the console.
class TrainingLog : public Observer {
 public:
  TrainingLog(LineLog& file, const Console& console, const TrainOptions& options)
      : file_(file), console_(console), options_(options) {}

  void on_batch(int epoch, std::size_t done, std::size_t batches, const Loss& loss) override {
    const auto now = std::chrono::steady_clock::now();
    if (options_.quiet || !console_.err_is_terminal || now < next_update_) return;
    next_update_ = now + std::chrono::milliseconds(200);
    console_.err << "\repoch " << epoch << '/' << options_.epochs << "  batch " << done << '/'
                 << batches << "  training loss " << loss.total << erase_to_end << std::flush;
  }

  void on_epoch(const EpochReport& report) override {
    file_.append(movielens::to_json(report).dump());
    if (options_.quiet) return;
    if (console_.err_is_terminal) console_.err << '\r';
    console_.err << progress_line(report, options_.epochs)
                 << (console_.err_is_terminal ? erase_to_end : "") << std::endl;
  }

 private:
  static constexpr const char* erase_to_end = "\x1b[K";

  LineLog& file_;
  const Console& console_;
  const TrainOptions& options_;
  std::chrono::steady_clock::time_point next_update_;
};

template <class Gate>
void train_gate(TrainOptions o, const Console& console) {
  const RandomKey key(static_cast<std::uint64_t>(o.seed));
  const Ratings ratings = read_ratings(o.data);
  const std::string source = source_of(ratings.file);
  const TwoTaskData data = make_two_task_data(ratings, key.fold(data_place));
  o.model.num_users = data.num_users;
  o.model.num_items = data.num_items;
  std::vector<Gate> gates;
  for (std::size_t task = 0; task < TwoTaskModel<Gate>::num_tasks; ++task)
    gates.push_back(make_gate<Gate>(o, key.fold(gates_place).fold(task)));
  TwoTaskModel<Gate> model(o.model, std::move(gates), key.fold(model_place));

  const std::filesystem::path out = o.out.empty() ? "results/" + o.gate : o.out;
  make_directories(out);
  std::filesystem::remove(out / "result.json");  // of an earlier training, if any
  LineLog metrics(out / "metrics.jsonl", LineLog::Open::fresh);
  if (!o.quiet)
    console.err << "data: " << source << ": " << ratings.size() << " ratings, " << data.num_users
                << " users, " << data.num_items << " items\n"
                << "gate: " << o.gate << ", " << comet::count_parameters(model)
                << " parameters; results in " << out.string() << std::endl;

  comet::ThreadPool pool(o.threads);
  TrainingLog log(metrics, console, o);
  const TrainingResult result =
      train(model, data,
            {.learning_rate = o.learning_rate,
             .batch_size = std::size_t(o.batch_size),
             .epochs = o.epochs,
             .patience = o.patience,
             .task_weights = {.watched = o.task_weights[0], .rating = o.task_weights[1]}},
            key.fold(training_place), &pool, log);

  const Json json = {{"source", source},
                     {"ratings", ratings.size()},
                     {"users", data.num_users},
                     {"items", data.num_items},
                     {"rows",
                      {{"train", data.train.size()},
                       {"validation", data.validation.size()},
                       {"test", data.test.size()}}},
                     {"options", to_json(o)},
                     {"parameters", comet::count_parameters(model)},
                     {"epochs", result.epochs},
                     {"best_epoch", result.best_epoch},
                     {"test", movielens::to_json(result.test)},
                     {"threads", pool.num_threads()},
                     {"seconds_per_epoch", result.seconds_per_epoch},
                     {"seconds", result.seconds}};
  write_atomically(out / "result.json", json.dump(2) + "\n");
  console.out << result_table(o.gate, result);
}

void train_command(const TrainOptions& options, const Console& console) {
  check(options);
  if (options.gate == "comet")
    train_gate<comet::CometGate<float>>(options, console);
  else
    train_gate<comet::TopKGate<float>>(options, console);
}

}  // namespace

void add_train(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "train", "Train the two-task model: has the user watched the movie, and how many stars?");
  auto o = std::make_shared<TrainOptions>();
  const auto option = [&](const char* name, auto& value, const char* type, const char* help) {
    return command->add_option(name, value, help)->type_name(type)->capture_default_str();
  };
  option("--data", o->data, "PATH",
         "MovieLens ratings of any edition: a file, or a directory with\n"
         "ratings.csv, ratings.dat or u.data")
      ->required();
  option("--out", o->out, "DIR", "for metrics.jsonl and result.json (default results/GATE)");
  option("--gate", o->gate, "GATE", "how experts are chosen")
      ->check(CLI::IsMember({"comet", "top_k"}));
  option("--experts", o->model.num_experts, "N", "number of experts");
  option("--k", o->k, "N", "experts per sample: trees of comet, selected by top_k");
  option("--gamma", o->gamma, "X", "width of comet's smooth step, in units of its logits");
  option("--entropy", o->entropy, "X", "strength of comet's entropy penalty");
  option("--task-weights", o->task_weights, "X,X", "of the losses of watched and of rating")
      ->delimiter(',')
      ->expected(2)
      ->multi_option_policy(CLI::MultiOptionPolicy::Throw);
  option("--learning-rate", o->learning_rate, "X", "of Adam");
  option("--batch-size", o->batch_size, "N", "samples per step");
  option("--epochs", o->epochs, "N", "passes over the training rows, at most");
  option("--patience", o->patience, "N", "epochs without a better validation loss before the end");
  option("--embedding-dim", o->model.embedding_dim, "N", "numbers per user and per movie");
  option("--expert-dim", o->model.expert_dim, "N", "outputs of an expert");
  option("--head-dim", o->model.head_dim, "N", "hidden units of a task's head");
  option("--dropout", o->model.dropout, "X", "share of the experts' outputs dropped in training");
  option("--seed", o->seed, "N", "split, negatives, start and noise are functions of it");
  option("--threads", o->threads, "N", "0 for all cores; the figures do not depend on it");
  command->add_flag("--quiet", o->quiet, "no progress, only the table");
  command->callback([o, console] { train_command(*o, console); });
}

}  // namespace movielens
