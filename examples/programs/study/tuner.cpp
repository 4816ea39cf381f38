// SPDX-License-Identifier: MIT
#include <programs/study/tuner.hpp>

#include <algorithm>
#include <limits>
#include <numeric>
#include <ostream>

#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>

#include <programs/base/file_error.hpp>
#include <programs/base/file_lock.hpp>
#include <programs/base/files.hpp>
#include <programs/base/interrupt.hpp>
#include <programs/base/text_table.hpp>
#include <programs/base/utf8.hpp>
#include <programs/study/trial_summary.hpp>
#include <programs/training/diverged.hpp>

namespace programs {

/// Successive halving trains every trial for E / 2^r epochs, the better half for twice as many, and
/// so on; this is r.
int Tuner::rungs() const {
  int rungs = 0;
  if (options_.halving)
    while ((options_.epochs >> (rungs + 1)) > 0 && (options_.trials >> (rungs + 1)) > 0) ++rungs;
  return rungs;
}

Tuner::Job Tuner::job(int trial, std::optional<int> rung, int rungs) const {
  const comet::RandomKey key(static_cast<std::uint64_t>(options_.seed));
  Job job{.trial = trial, .rung = rung, .changes = space_.sample(key.fold(trial))};
  if (rung) job.changes["epochs"] = options_.epochs >> (rungs - *rung);
  job.changes["split_seed"] = options_.split_seed;
  return job;
}

std::filesystem::path trial_folder(const std::filesystem::path& folder, int trial) {
  return folder / "trials" / formatted("%04d", trial);
}

void Tuner::prepare() {
  if (!options_.resume && std::filesystem::exists(options_.folder) &&
      !std::filesystem::is_empty(options_.folder))
    throw FileError(options_.folder, "is not empty; --resume goes on with the search in it");
  for (int trial = 0; trial < options_.trials; ++trial)
    (void)trainee_.options_with(job(trial, std::nullopt, rungs()).changes);
  read_finished();
  make_directories(options_.folder / "trials");
  write_atomically(options_.folder / "space.json", space_.json().dump(2) + "\n");
}

void Tuner::run() {
  const int rungs = this->rungs();
  std::vector<int> candidates(static_cast<std::size_t>(options_.trials));
  std::iota(candidates.begin(), candidates.end(), 0);
  for (int rung = 0; rung <= rungs; ++rung) {
    std::vector<Job> jobs;
    for (const int trial : candidates)
      jobs.push_back(job(trial, rung < rungs ? std::optional(rung) : std::nullopt, rungs));
    run(jobs);
    if (rung < rungs) candidates = better_half(std::move(jobs));
  }
  summarise();
}

std::vector<int> Tuner::better_half(std::vector<Job> jobs) const {
  std::stable_sort(jobs.begin(), jobs.end(), [this](const Job& a, const Job& b) {
    return find(a)->validation_loss < find(b)->validation_loss;
  });
  jobs.resize((jobs.size() + 1) / 2);
  std::vector<int> trials;
  for (const Job& job : jobs) trials.push_back(job.trial);
  std::sort(trials.begin(), trials.end());
  return trials;
}

void Tuner::run(const std::vector<Job>& jobs) {
  trained_here_ = 0;
  start_ = Clock::now();
  // One task per worker; a machine that has no room for so many threads is told, before any works.
  comet::ThreadPool workers(options_.parallel);
  workers.run(options_.parallel, [&](comet::Index, comet::Index) {
    try {
      work(jobs);
    } catch (...) {
      const std::lock_guard guard(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  });
  if (!failure_) return;
  try {
    std::rethrow_exception(failure_);
  } catch (const Interrupted&) {
    throw Interrupted("what is finished is in " + log().string() + "; --resume goes on");
  }
}

void Tuner::work(const std::vector<Job>& jobs) {
  // First what nobody works on. Then what others do: who holds a trial ends it, or is killed and
  // leaves it to those who wait.
  for (const bool wait : {false, true})
    for (const Job& job : jobs) {
      {
        const std::lock_guard guard(mutex_);
        if (failure_) return;
        if (find(job)) continue;
      }
      try_job(job, wait, jobs);
    }
}

void Tuner::try_job(const Job& job, bool wait, const std::vector<Job>& jobs) {
  const std::filesystem::path out = trial_folder(options_.folder, job.trial);
  make_directories(out);
  const auto claim =
      wait ? std::optional(FileLock::wait_for(out / "lock")) : FileLock::try_for(out / "lock");
  if (!claim) return;
  {
    const std::lock_guard guard(mutex_);
    read_finished();
    if (find(job)) return;
  }
  const Trial trial = train(job, out);
  const std::lock_guard guard(mutex_);
  append_trial(log(), trial);
  read_finished();
  ++trained_here_;
  if (!options_.quiet) show(trial, jobs);
}

Trial Tuner::train(const Job& job, const std::filesystem::path& out) const {
  Trial trial;
  trial.number = job.trial;
  trial.rung = job.rung;
  trial.source = trainee_.source();
  trial.content = trainee_.content();
  trial.options = trainee_.options_with(job.changes);
  try {
    const TrainingResult result = trainee_.train(job.changes, out);
    trial.epochs = result.epochs;
    trial.best_epoch = result.best_epoch;
    trial.validation_loss = result.validation.loss;
    trial.experts_per_sample = result.validation.experts_per_sample;
    trial.test_loss = result.test.loss;
    for (const Measure& measure : result.test.measures)
      if (measure.is_headline) trial.test_measures.push_back(measure);
    trial.seconds = result.seconds;
  } catch (const Diverged& error) {
    trial.failure = error.what();  // the others go on
    trial.validation_loss = std::numeric_limits<double>::infinity();
  }
  return trial;
}

const Trial* Tuner::find(const Job& job) const {
  const auto found = std::find_if(finished_.begin(), finished_.end(), [&](const Trial& trial) {
    return trial.number == job.trial && trial.rung == job.rung;
  });
  return found == finished_.end() ? nullptr : &*found;
}

void Tuner::read_finished() {
  if (!std::filesystem::exists(log())) return;
  const std::uintmax_t size = std::filesystem::file_size(log());
  if (size == read_size_) return;
  finished_ = read_trials(log());
  read_size_ = size;
  for (const Trial& trial : finished_) expect_same(trial);
}

/// The folder must hold what this search would have put there.
void Tuner::expect_same(const Trial& trial) const {
  const auto refuse = [&](const std::string& name, const std::string& there,
                          const std::string& here) {
    throw FileError(log(), "trial " + std::to_string(trial.number) + " has " + name + " " + there +
                               ", this search gives it " + here);
  };
  const auto in_full = [](const std::string& source) { return '"' + printable(source) + '"'; };
  if (trial.source != trainee_.source())  // cut, the two might look alike
    refuse("data", in_full(trial.source), in_full(trainee_.source()));
  // First of all, because there is no job of another rung.
  if (trial.rung && (*trial.rung < 0 || *trial.rung >= rungs()))
    refuse("rung", std::to_string(*trial.rung), "none");
  const Json expected = trainee_.options_with(job(trial.number, trial.rung, rungs()).changes);
  for (const auto& [name, value] : expected.items())
    if (!trial.options.contains(name) || trial.options.at(name) != value)
      refuse(name, trial.options.value(name, Json()).dump(), value.dump());
  // Trials of before do not say it.
  if (!trial.content.empty() && trial.content != trainee_.content())
    refuse("data of the content", trial.content, trainee_.content());
}

void Tuner::show(const Trial& trial, const std::vector<Job>& jobs) const {
  const auto done = static_cast<std::size_t>(std::count_if(
      jobs.begin(), jobs.end(), [this](const Job& each) { return find(each) != nullptr; }));
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const double left =
      elapsed / static_cast<double>(trained_here_) * static_cast<double>(jobs.size() - done);
  const auto best = std::min_element(
      finished_.begin(), finished_.end(),
      [](const Trial& a, const Trial& b) { return a.validation_loss < b.validation_loss; });
  console_.err << progress_line(trial, done, jobs.size(), *best, left) << std::endl;
}

void Tuner::summarise() const {
  // A folder may hold more trials than were asked for now.
  std::vector<Trial> trials;
  for (const Trial& trial : finished_)
    if (trial.number < options_.trials) trials.push_back(trial);
  const TrialSummary summary = summary_of(trials);
  write_atomically(options_.folder / "summary.json", to_json(summary).dump(2) + "\n");
  write_atomically(options_.folder / "summary.md", summary_markdown(summary));
  console_.out << summary_text(summary);
}

}  // namespace programs
