// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include <movielens/base/file_error.hpp>
#include <movielens/base/file_lock.hpp>
#include <movielens/base/files.hpp>
#include <movielens/base/interrupt.hpp>
#include <movielens/commands/commands.hpp>
#include <movielens/study/search_space.hpp>
#include <movielens/study/trial_summary.hpp>
#include <movielens/study/trials.hpp>
#include <movielens/training/run.hpp>
#include <movielens/training/train_options.hpp>

namespace movielens {
namespace {

struct TuneOptions {
  TrainOptions train;
  std::string space;
  int trials = 100;
  int parallel = 0;
  bool halving = false;
  bool resume = false;
  std::string results = "results";
  std::string name = "tune";
};

/// One training of a search: a trial, or what successive halving lets it have at first.
struct Job {
  int trial = 0;
  std::optional<int> rung;
  TrainOptions options;
};

/// The trials of a folder: which are done, and the threads and processes that work on the others.
class Study {
 public:
  Study(const TuneOptions& options, const SearchSpace& space, const Dataset& data,
        const Console& console)
      : options_(options),
        space_(space),
        data_(data),
        console_(console),
        folder_(std::filesystem::path(options.results) / options.name) {}

  void run();

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] Job job(int trial, std::optional<int> rung, int rungs) const;
  void run(const std::vector<Job>& jobs);
  void work(const std::vector<Job>& jobs);
  [[nodiscard]] Trial train(const Job& job, const std::filesystem::path& out) const;
  [[nodiscard]] const Trial* find(const Job& job) const;
  void read_finished();
  void expect_same(const Trial& trial, const Job& job) const;
  void show(const Trial& trial, std::size_t done, std::size_t jobs);
  void summarise(int first_trials) const;

  [[nodiscard]] std::filesystem::path log() const { return folder_ / "trials.jsonl"; }
  [[nodiscard]] int rungs() const;

  const TuneOptions& options_;
  const SearchSpace& space_;
  const Dataset& data_;
  const Console& console_;
  std::filesystem::path folder_;

  std::mutex mutex_;              // guards all below
  std::vector<Trial> finished_;   // by all processes
  std::uintmax_t read_size_ = 0;  // of the file they come from, when it was read
  std::exception_ptr failure_;
  std::size_t trained_here_ = 0;  // of the present list of jobs
  Clock::time_point start_;
};

/// Successive halving trains every trial for E / 2^r epochs, the better half for twice as many, and
/// so on; this is r.
int Study::rungs() const {
  int rungs = 0;
  if (options_.halving)
    while ((options_.train.epochs >> (rungs + 1)) > 0 && (options_.trials >> (rungs + 1)) > 0)
      ++rungs;
  return rungs;
}

Job Study::job(int trial, std::optional<int> rung, int rungs) const {
  const comet::RandomKey key(static_cast<std::uint64_t>(options_.train.seed));
  Job job{.trial = trial, .rung = rung, .options = space_.sample(options_.train, key.fold(trial))};
  if (rung) job.options.epochs >>= rungs - *rung;
  job.options.split_seed = options_.train.split_seed.value_or(options_.train.seed);
  return job;
}

void Study::run() {
  if (!options_.resume && std::filesystem::exists(folder_) && !std::filesystem::is_empty(folder_))
    throw FileError(folder_, "is not empty; --resume goes on with the search in it");
  const int rungs = this->rungs();
  std::vector<int> candidates;
  for (int trial = 0; trial < options_.trials; ++trial) {
    candidates.push_back(trial);
    check(job(trial, std::nullopt, rungs).options);
  }
  make_directories(folder_ / "trials");
  read_finished();
  write_atomically(folder_ / "space.json", space_.json().dump(2) + "\n");
  for (int rung = 0; rung <= rungs; ++rung) {
    std::vector<Job> jobs;
    for (const int trial : candidates)
      jobs.push_back(job(trial, rung < rungs ? std::optional(rung) : std::nullopt, rungs));
    run(jobs);
    if (rung == rungs) break;
    std::stable_sort(jobs.begin(), jobs.end(), [this](const Job& a, const Job& b) {
      return find(a)->validation_loss < find(b)->validation_loss;
    });
    jobs.resize((jobs.size() + 1) / 2);
    candidates.clear();
    for (const Job& job : jobs) candidates.push_back(job.trial);
    std::sort(candidates.begin(), candidates.end());
  }
  summarise(options_.trials);
}

void Study::run(const std::vector<Job>& jobs) {
  trained_here_ = 0;
  start_ = Clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < options_.parallel; ++i)
    threads.emplace_back([&] {
      try {
        work(jobs);
      } catch (...) {
        const std::lock_guard guard(mutex_);
        if (!failure_) failure_ = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  if (!failure_) return;
  try {
    std::rethrow_exception(failure_);
  } catch (const Interrupted&) {
    throw Interrupted("what is finished is in " + log().string() + "; --resume goes on");
  }
}

void Study::work(const std::vector<Job>& jobs) {
  // First what nobody works on. Then what others do: who holds a trial ends it, or is killed and
  // leaves it to those who wait.
  for (const bool wait : {false, true})
    for (const Job& job : jobs) {
      {
        const std::lock_guard guard(mutex_);
        if (failure_) return;
        if (find(job)) continue;
      }
      std::ostringstream number;
      number.fill('0');
      number.width(4);
      number << job.trial;
      const std::filesystem::path out = folder_ / "trials" / number.str();
      make_directories(out);
      auto claim =
          wait ? std::optional(FileLock::wait_for(out / "lock")) : FileLock::try_for(out / "lock");
      if (!claim) continue;
      {
        const std::lock_guard guard(mutex_);
        read_finished();
        if (find(job)) continue;
      }
      const Trial trial = train(job, out);
      const std::lock_guard guard(mutex_);
      append_trial(log(), trial);
      read_finished();
      ++trained_here_;
      const auto done = std::count_if(jobs.begin(), jobs.end(),
                                      [this](const Job& each) { return find(each) != nullptr; });
      show(trial, static_cast<std::size_t>(done), jobs.size());
    }
}

Trial Study::train(const Job& job, const std::filesystem::path& out) const {
  Trial trial;
  trial.number = job.trial;
  trial.rung = job.rung;
  trial.source = data_.source;
  trial.options = to_json(job.options);
  TrainOptions options = job.options;
  options.out = out.string();
  options.quiet = true;
  try {
    const TrainingResult result = movielens::run(options, data_, console_).training;
    trial.epochs = result.epochs;
    trial.best_epoch = result.best_epoch;
    trial.validation_loss = result.validation.loss.total;
    trial.experts_per_sample = result.validation.experts_per_sample;
    trial.test_loss = result.test.loss.total;
    trial.test_auc = result.test.auc;
    trial.test_mse = result.test.loss.rating;
    trial.seconds = result.seconds;
  } catch (const std::invalid_argument& error) {
    trial.failure = error.what();  // it diverged; the others go on
    trial.validation_loss = std::numeric_limits<double>::infinity();
  }
  return trial;
}

const Trial* Study::find(const Job& job) const {
  const auto found = std::find_if(finished_.begin(), finished_.end(), [&](const Trial& trial) {
    return trial.number == job.trial && trial.rung == job.rung;
  });
  return found == finished_.end() ? nullptr : &*found;
}

void Study::read_finished() {
  if (!std::filesystem::exists(log())) return;
  const std::uintmax_t size = std::filesystem::file_size(log());
  if (size == read_size_) return;
  finished_ = read_trials(log());
  read_size_ = size;
  for (const Trial& trial : finished_) expect_same(trial, job(trial.number, trial.rung, rungs()));
}

/// The folder must hold what this search would have put there.
void Study::expect_same(const Trial& trial, const Job& job) const {
  const auto refuse = [&](const std::string& name, const std::string& there,
                          const std::string& here) {
    throw FileError(log(), "trial " + std::to_string(trial.number) + " has " + name + " " + there +
                               ", this search gives it " + here);
  };
  if (trial.source != data_.source)
    refuse("data", in_quotes(trial.source), in_quotes(data_.source));
  if (trial.rung && *trial.rung >= rungs()) refuse("rung", std::to_string(*trial.rung), "none");
  const Json expected = to_json(job.options);
  for (const auto& [name, value] : expected.items())
    if (!trial.options.contains(name) || trial.options.at(name) != value)
      refuse(name, trial.options.value(name, Json()).dump(), value.dump());
}

void Study::show(const Trial& trial, std::size_t done, std::size_t jobs) {
  if (options_.train.quiet) return;
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const double left =
      elapsed / static_cast<double>(trained_here_) * static_cast<double>(jobs - done);
  const auto best = std::min_element(
      finished_.begin(), finished_.end(),
      [](const Trial& a, const Trial& b) { return a.validation_loss < b.validation_loss; });
  console_.err << progress_line(trial, done, jobs, *best, left) << std::endl;
}

void Study::summarise(int first_trials) const {
  // A folder may hold more trials than were asked for now.
  std::vector<Trial> trials;
  for (const Trial& trial : finished_)
    if (trial.number < first_trials) trials.push_back(trial);
  const TrialSummary summary = summary_of(trials);
  write_atomically(folder_ / "summary.json", to_json(summary).dump(2) + "\n");
  write_atomically(folder_ / "summary.md", summary_markdown(summary));
  console_.out << summary_text(summary);
}

void tune(TuneOptions o, const SearchSpace& space, const Console& console) {
  check(o.train);
  if (o.trials < 1)
    throw std::invalid_argument("--trials is " + std::to_string(o.trials) +
                                ", expected at least 1");
  if (o.parallel < 0)
    throw std::invalid_argument("--parallel is " + std::to_string(o.parallel) +
                                ", expected at least 0");
  if (o.halving && space.contains("epochs"))
    throw std::invalid_argument("--halving decides on the epochs, and " + o.space +
                                " says them, too");
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  if (o.parallel == 0) o.parallel = cores;
  o.parallel = std::min(o.parallel, o.trials);
  if (o.train.threads == 0) o.train.threads = std::max(1, cores / o.parallel);
  const Dataset data = load(o.train);
  if (!o.train.quiet)
    console.err << "data: " << data.source << ": " << data.ratings << " ratings, "
                << data.rows.num_users << " users, " << data.rows.num_items << " items\n"
                << o.trials << " trials, " << o.parallel << " at once; results in "
                << (std::filesystem::path(o.results) / o.name).string() << std::endl;
  const InterruptGuard guard;
  Study(o, space, data, console).run();
}

}  // namespace

void add_tune(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "tune", "Search hyper-parameters at random, in a folder that survives crashes");
  auto o = std::make_shared<TuneOptions>();
  o->train.threads = 1;
  add_options(*command, o->train);
  const auto option = [&](const char* name, auto& value, const char* type, const char* help) {
    return command->add_option(name, value, help)->type_name(type)->capture_default_str();
  };
  o->train.weights = true;
  command->add_flag_callback(
      "--no-weights", [o] { o->train.weights = false; },
      "do not write a model.safetensors for every trial");
  option("--gate", o->train.gate, "GATE", "how experts are chosen")
      ->check(CLI::IsMember(gate_names()));
  option("--local-search", o->train.local_search, "SEARCH", "over the order of the experts")
      ->check(CLI::IsMember(local_search_names()));
  option("--space", o->space, "FILE", "JSON: the options to be searched, and their values")
      ->required();
  option("--trials", o->trials, "N", "trainings, each with options drawn from the space");
  option("--parallel", o->parallel, "N", "trials at once; 0 for one per core");
  command->get_option("--threads")
      ->description(
          "per trial; 0 shares the cores among those at once. The figures do not depend on it");
  option("--seed", o->train.seed, "N", "trial I is a function of it and I; so is the split");
  option("--results", o->results, "DIR", "for all searches");
  option("--experiment-name", o->name, "NAME", "of the folder in DIR");
  command->add_flag("--resume", o->resume,
                    "go on with the folder: after a crash, with more trials,\n"
                    "or beside another process that works on it");
  command->add_flag("--halving", o->halving,
                    "successive halving: few epochs for every trial, then twice\n"
                    "as many for the better half, and so on up to --epochs");
  command->footer(
      "Options that FILE does not name have the values given here, for every trial.\n"
      "DIR/NAME gets trials.jsonl, a line per finished trial; summary.md, summary.json\n"
      "and space.json; and a folder per trial below trials/.\n"
      "\n"
      "Examples:\n"
      "  movielens tune --data ml --space top_k.json --trials 40 --parallel 2\n"
      "  movielens tune --data ml --space top_k.json --trials 80 --resume");
  command->callback([o, command, console] {
    const SearchSpace space = SearchSpace::read(o->space);
    for (const CLI::Option* given : command->get_options()) {
      std::string name = given->get_single_name();
      std::replace(name.begin(), name.end(), '-', '_');
      if (given->count() > 0 && space.contains(name))
        throw std::invalid_argument("--" + given->get_single_name() + " is given, and " + o->space +
                                    " says it, too");
    }
    tune(*o, space, console);
  });
}

}  // namespace movielens
