// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include <comet/distributed/thread_communicator.hpp>

#include <programs/base/ranks.hpp>

#include <examples/programs/run_program.hpp>

namespace programs::test {

/// What a rank is told.
using ArgumentsOfRank = std::function<Arguments(comet::Index rank)>;

/// \brief A program on ranks that are threads: as mpirun starts it, without an MPI.
template <class Program>
std::vector<Outcome> run_on_ranks(comet::Index ranks, const ArgumentsOfRank& arguments_of) {
  std::vector<Outcome> outcomes(static_cast<std::size_t>(ranks));
  comet::run_ranks(ranks, [&](comet::ThreadCommunicator& world) {
    RanksOf<comet::ThreadCommunicator> here(world);
    const Arguments arguments = arguments_of(world.rank());
    std::vector<const char*> argv = {Program::name};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    std::ostringstream out, err;
    const int code = Program::run(static_cast<int>(argv.size()), argv.data(),
                                  {.out = out, .err = err, .ranks = &here});
    outcomes[std::size_t(world.rank())] = {code, out.str(), err.str()};
  });
  return outcomes;
}
template <class Program>
std::vector<Outcome> run_on_ranks(comet::Index ranks, const Arguments& arguments) {
  return run_on_ranks<Program>(ranks, [&](comet::Index) { return arguments; });
}

/// The loss of every tenth step.
inline std::vector<double> losses_in(const std::filesystem::path& directory) {
  std::istringstream steps(content_of(directory / "steps.jsonl"));
  std::vector<double> losses;
  for (std::string line; std::getline(steps, line);)
    losses.push_back(nlohmann::json::parse(line).at("loss").get<double>());
  return losses;
}

/// The experts' order after each epoch.
inline std::vector<nlohmann::json> orders_in(const std::filesystem::path& directory) {
  std::istringstream epochs(content_of(directory / "metrics.jsonl"));
  std::vector<nlohmann::json> orders;
  for (std::string line; std::getline(epochs, line);)
    orders.push_back(nlohmann::json::parse(line).at("permutations"));
  return orders;
}

/// \brief The files of a training on ranks are those of one process: losses, figures and weights
/// within rounding, everything else the same.
/// \param one, many  folders of the two
/// \param tolerance  of figures, relative
inline void check_same_training(const std::filesystem::path& one, const std::filesystem::path& many,
                                double tolerance) {
  const auto names = [](const std::filesystem::path& directory) {
    std::vector<std::string> list;
    for (const auto& entry : std::filesystem::directory_iterator(directory))
      list.push_back(entry.path().filename().string());
    std::sort(list.begin(), list.end());
    return list;
  };
  CHECK(names(many) == names(one));
  const std::vector<double> expected = losses_in(one), losses = losses_in(many);
  REQUIRE(losses.size() == expected.size());
  for (std::size_t i = 0; i < losses.size(); ++i)
    CHECK(losses[i] == Approx(expected[i]).epsilon(tolerance));
  CHECK(orders_in(many) == orders_in(one));
  const auto result_in = [](const std::filesystem::path& directory) {
    return nlohmann::json::parse(content_of(directory / "result.json"));
  };
  nlohmann::json a = result_in(one), b = result_in(many);
  CHECK(b["test"]["loss"].get<double>() ==
        Approx(a["test"]["loss"].get<double>()).epsilon(tolerance));
  for (const char* const name : {"options", "rows", "content", "parameters", "epochs"})
    CHECK(a[name] == b[name]);
}

/// \brief What a program trains on 2 and 3 ranks is what it trains alone.
/// \param training  small ones of the program, in a folder each
/// \param more      options of all of them
template <class Program, class SmallTraining>
void check_train_on_ranks(const SmallTraining& training, const Arguments& more = {}) {
  for (const std::string gate : {"comet", "top_k"}) {
    Arguments options = {"--gate=" + gate, "--learning-rate=0.001"};
    options.insert(options.end(), more.begin(), more.end());
    REQUIRE(training.train(gate, options).code == 0);
    for (const comet::Index ranks : {2, 3}) {
      INFO(gate << " on " << ranks << " ranks");
      const std::string name = gate + std::to_string(ranks);
      for (const auto& outcome :
           run_on_ranks<Program>(ranks, training.small("train", name, options))) {
        INFO(outcome.err);
        REQUIRE(outcome.code == 0);
      }
      check_same_training(training.out(gate), training.out(name), 2e-5);
    }
  }
}

}  // namespace programs::test
