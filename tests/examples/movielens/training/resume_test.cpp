// SPDX-License-Identifier: MIT
#include <csignal>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <comet/core/random.hpp>
#include <comet/io/safetensors.hpp>

#include <examples/movielens/run_program.hpp>
#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using namespace programs::movielens::test;
using Json = nlohmann::json;

namespace {

/// All that a training leaves, but for times.
std::string remains_of(const std::filesystem::path& directory) {
  return programs::test::remains_of(directory) + content_of(directory / "record.jsonl") +
         content_of(directory / "decision_paths.json");
}

std::size_t files_in(const std::filesystem::path& directory) {
  return std::size_t(std::distance(std::filesystem::directory_iterator(directory), {}));
}

}  // namespace

TEST_CASE("movielens train --resume: killed at any moment, it ends with the same bits",
          "[movielens][resume]") {
  const SmallTraining training;
  struct Kind {
    std::string gate, search, every, sparse_by = "0";
  };
  int hits = 0;
  std::uint64_t draw = 0;
  const comet::RandomKey key(20);
  for (const Kind& kind : {Kind{"comet", "relaxed", "3"}, Kind{"top_k", "swap", "4"},
                           Kind{"dselect_k", "none", "7"}, Kind{"hash", "relaxed", ""},
                           Kind{"balanced_top_k", "none", "2"}, Kind{"comet", "none", "2", "2"}}) {
    Arguments options = {"--gate=" + kind.gate, "--local-search=" + kind.search,
                         "--sparse-by=" + kind.sparse_by};
    const auto record_to = [&](const std::string& name) {
      return "--record=" + (training.out(name) / "record.jsonl").string();
    };
    if (!kind.every.empty()) options.push_back("--checkpoint-every=" + kind.every);
    const auto start = std::chrono::steady_clock::now();
    const std::string name = kind.gate + kind.sparse_by;
    options.insert(options.end(), {"--record-every=3", record_to(name)});
    REQUIRE(training.train(name, options).code == 0);
    const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - start;
    const std::string expected = remains_of(training.out(name));

    const std::string killed = name + "-killed";
    options.insert(options.end(), {"--resume", record_to(killed)});
    const Arguments arguments = training.arguments(killed, options);
    for (int kill = 0; kill < 4; ++kill) {
      Child child(arguments, training.out("err"));
      std::this_thread::sleep_for(whole * key.uniform(draw++));
      if (child.end(SIGKILL) == -1) ++hits;
    }
    REQUIRE(Child(arguments, training.out("err")).wait() == 0);
    INFO(kind.gate << ' ' << kind.search);
    CHECK(remains_of(training.out(killed)) == expected);
    const bool explains = kind.gate != "hash" && kind.gate != "balanced_top_k";
    CHECK(files_in(training.out(killed)) == (explains ? 6 : 5));
    // Another time there is nothing left to do.
    const std::string before = content_of(training.out(killed) / "result.json");
    CHECK(training.train(killed, options).code == 0);
    CHECK(content_of(training.out(killed) / "result.json") == before);
  }
  CHECK(hits >= 4);
}

TEST_CASE("movielens train --record: no file of something else is lost", "[movielens][record]") {
  const SmallTraining training;
  const auto ratings = training.out("data") / "ratings.csv";  // in the folder that is read
  const std::string before = content_of(ratings);
  const Outcome outcome = training.train("out", {"--record=" + ratings.string()});
  CHECK(outcome.code == 2);
  CHECK_THAT(outcome.err, ContainsSubstring("--record is ") &&
                              ContainsSubstring("is no record of a training and would be lost"));
  CHECK(content_of(ratings) == before);
  CHECK_FALSE(std::filesystem::exists(training.out("out")));

  // The log of another training begins with a step, as a record does; an empty file will do.
  REQUIRE(training.train("other", {}).code == 0);
  const auto refused = [&](const std::filesystem::path& file, const std::string& reason) {
    const std::string content = content_of(file);
    const Outcome again = training.train("out", {"--record=" + file.string()});
    CHECK(again.code == 2);
    CHECK_THAT(again.err, ContainsSubstring("--record is ") && ContainsSubstring(reason));
    CHECK(content_of(file) == content);
  };
  const std::string no_record = "is no record of a training and would be lost";
  refused(training.out("other") / "steps.jsonl", no_record);
  refused(training.out("other") / "metrics.jsonl", no_record);
  const auto record = training.out("record");
  for (const std::string text :
       {R"({"step":x)", R"({"step":,"gate":0})", R"({"step":1,"gates":0})", "{\"step\":1}"}) {
    std::ofstream(record) << text;
    refused(record, no_record);
  }
  for (const std::string text : {"", "{\"st", R"({"step":1)", R"({"step":1,"ga)"}) {
    std::ofstream(record) << text;
    CHECK(training.train("out", {"--record=" + record.string()}).code == 0);
  }
}

TEST_CASE("movielens train --record: none of the files of the training itself",
          "[movielens][record]") {
  const SmallTraining training;
  const auto refused = [&](const std::string& file, const std::string& name) {
    CAPTURE(file);
    const Outcome outcome = training.train("out", {"--record=" + file});
    CHECK(outcome.code == 2);
    CHECK_THAT(outcome.err, ContainsSubstring("--record is ") &&
                                ContainsSubstring("which is " + name + " of the training in "));
  };
  const std::vector<std::string> names = {"result.json",   "model.safetensors",
                                          "metrics.jsonl", "checkpoint.safetensors",
                                          "steps.jsonl",   "decision_paths.json"};
  for (const std::string& name : names) refused((training.out("out") / name).string(), name);
  CHECK_FALSE(std::filesystem::exists(training.out("out")));
  REQUIRE(training.train("out", {}).code == 0);
  const std::string before = programs::test::remains_of(training.out("out"));
  for (const std::string& name : names)
    refused((training.out("out") / ".." / "out" / "." / name).string(), name);
  std::filesystem::create_symlink(training.out("out") / "steps.jsonl", training.out("link"));
  refused(training.out("link").string(), "steps.jsonl");
  CHECK(programs::test::remains_of(training.out("out")) == before);
}

TEST_CASE("movielens train --record: a line for each gate of every N-th step",
          "[movielens][record]") {
  const SmallTraining training;
  const auto file = training.out("record.jsonl");
  const auto lines = [&] {
    std::vector<Json> list;
    std::istringstream text(content_of(file));
    for (std::string line; std::getline(text, line);) list.push_back(Json::parse(line));
    return list;
  };
  const Arguments recorded = {"--gate=comet", "--k=3", "--entropy=0.2",
                              "--record=" + file.string()};
  REQUIRE(training.train("every_tenth", recorded).code == 0);
  const std::size_t steps = lines_in(content_of(training.out("every_tenth") / "steps.jsonl"));
  REQUIRE(steps > 2);
  std::vector<Json> list = lines();
  REQUIRE(list.size() == 2 * steps);
  std::istringstream logged(content_of(training.out("every_tenth") / "steps.jsonl"));
  for (std::size_t i = 0; i < list.size(); i += 2) {
    std::string line;
    std::getline(logged, line);
    const Json step = Json::parse(line);
    double experts = 0;
    for (const std::size_t gate : {0U, 1U}) {
      const Json& record = list[i + gate];
      CHECK(record["step"] == step["step"]);
      CHECK(record["gate"] == gate);
      CHECK(record["load"].size() == 5);
      int load = 0;
      for (const Json& of_expert : record["load"]) load += of_expert.get<int>();
      CHECK(load ==
            Approx(record["experts_per_sample"].get<double>() * record["num_rows"].get<double>()));
      experts += record["experts_per_sample"].get<double>() / 2;
    }
    CHECK(experts == Approx(step["experts_per_sample"].get<double>()));
  }

  Arguments more = recorded;
  more.push_back("--record-every=4");
  REQUIRE(training.train("every_fourth", more).code == 0);
  list = lines();
  REQUIRE(list.size() > 8);
  for (std::size_t i = 0; i < list.size(); ++i) CHECK(list[i]["step"] == 1 + 4 * (i / 2));
  // What is written down changes nothing of what is learned.
  REQUIRE(training.train("none", {"--gate=comet", "--k=3", "--entropy=0.2"}).code == 0);
  CHECK(training.result("none")["test"] == training.result("every_fourth")["test"]);

  const Outcome refused = training.train("none", {"--record-every=0"});
  CHECK(refused.code == 2);
  CHECK(refused.err == "movielens: --record-every is 0, expected from 1 to 1048576\n");
}

TEST_CASE("movielens train --resume --record: another file has the steps from there on",
          "[movielens][record]") {
  const SmallTraining training;
  const auto first = training.out("first.jsonl"), second = training.out("second.jsonl");
  const auto with = [&](const std::filesystem::path& file) {
    return Arguments{"--epochs=40", "--checkpoint-every=5", "--record-every=1", "--resume",
                     "--record=" + file.string()};
  };
  Child child(training.arguments("out", with(first)), training.out("err"));
  while (!std::filesystem::exists(training.out("out") / "checkpoint.safetensors"))
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  REQUIRE(child.end(SIGTERM) == 130);
  const std::string begun = content_of(first);
  std::ofstream(second) << R"({"step":1,"gate":0,"of":"another training"})" << '\n';
  REQUIRE(training.train("out", with(second)).code == 0);
  CHECK(content_of(first) == begun);
  const std::string rest = content_of(second);
  const Json next = Json::parse(rest.substr(0, rest.find('\n')));
  CHECK(next["step"] == 1 + lines_in(begun) / 2);
  // Both together are what one file would have.
  Arguments whole = with(training.out("whole.jsonl"));
  REQUIRE(training.train("whole", whole).code == 0);
  CHECK(begun + rest == content_of(training.out("whole.jsonl")));
}

TEST_CASE("movielens train: SIGTERM and Ctrl-C end with 130, a checkpoint and one line of advice",
          "[movielens][resume]") {
  const SmallTraining training;
  const Arguments options = {"--epochs=12", "--gate=top_k"};
  REQUIRE(training.train("whole", options).code == 0);
  for (const int signal : {SIGTERM, SIGINT}) {
    const std::string name = "ended" + std::to_string(signal);
    const auto directory = training.out(name);
    const auto err = training.out("err");
    Child child(training.arguments(name, options), err);
    while (!std::filesystem::exists(directory / "metrics.jsonl") ||
           content_of(directory / "metrics.jsonl").empty())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    REQUIRE(child.end(signal) == 130);
    CHECK_THAT(
        content_of(err),
        StartsWith("movielens: interrupted; the same command with --resume goes on from step "));
    CHECK(std::filesystem::exists(directory / "checkpoint.safetensors"));
    CHECK_FALSE(std::filesystem::exists(directory / "result.json"));

    // Other options would be another training.
    Arguments more = options;
    more.insert(more.end(), {"--resume", "--learning-rate=0.02"});
    const Outcome other = training.train(name, more);
    CHECK(other.code == 2);
    CHECK(other.err == "movielens: " + (directory / "checkpoint.safetensors").string() +
                           ": is of another training: learning_rate: 0.01 there, 0.02 "
                           "here\n");

    more = options;
    more.push_back("--resume");
    REQUIRE(training.train(name, more).code == 0);
    CHECK(remains_of(directory) == remains_of(training.out("whole")));
    CHECK_FALSE(std::filesystem::exists(directory / "checkpoint.safetensors"));

    // Nor is one that has ended replaced in silence.
    const std::string ended_model = content_of(directory / "model.safetensors");
    more.push_back("--epochs=13");
    const Outcome longer = training.train(name, more);
    CHECK(longer.code == 2);
    CHECK(longer.err == "movielens: " + (directory / "result.json").string() +
                            ": is of another training: epochs: 12 there, 13 here; another "
                            "--out keeps it, without --resume it is replaced\n");
    CHECK(content_of(directory / "model.safetensors") == ended_model);

    // Nor one whose result is damaged.
    more.pop_back();
    const Json result = Json::parse(content_of(directory / "result.json"));
    const auto refused = [&](const Json& damaged) {
      INFO(damaged.dump());
      std::ofstream(directory / "result.json") << damaged.dump();
      const Outcome outcome = training.train(name, more);
      CHECK(outcome.code == 2);
      CHECK(outcome.err == "movielens: " + (directory / "result.json").string() +
                               ": is not what a training writes; another --out keeps it, without "
                               "--resume it is replaced\n");
      CHECK(content_of(directory / "model.safetensors") == ended_model);
    };
    refused(3);
    for (const char* const key : {"options", "test", "epochs", "seconds", "parameters"}) {
      Json without = result, other_type = result;
      without.erase(key);
      refused(without);
      other_type[key] = Json::array({"x"});
      if (key != std::string("options")) refused(other_type);
    }
  }
  // Without checkpoints there is no promise.
  Arguments none = options;
  none.push_back("--checkpoint-every=0");
  Child child(training.arguments("none", none), training.out("err"));
  while (!std::filesystem::exists(training.out("none") / "metrics.jsonl") ||
         content_of(training.out("none") / "metrics.jsonl").empty())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  REQUIRE(child.end(SIGTERM) == 130);
  CHECK(content_of(training.out("err")) ==
        "movielens: interrupted; there is no checkpoint to go on from\n");
  CHECK_FALSE(std::filesystem::exists(training.out("none") / "checkpoint.safetensors"));
}

TEST_CASE("movielens train --resume: a checkpoint that is not whole is refused with one line",
          "[movielens][resume][error]") {
  const SmallTraining training;
  const auto directory = training.out("out");
  std::filesystem::create_directories(directory);
  const auto checkpoint = directory / "checkpoint.safetensors";
  const auto refused = [&](const std::string& content, const std::string& reason) {
    std::ofstream(checkpoint, std::ios::binary) << content;
    const Outcome outcome = training.train("out", {"--resume"});
    CHECK(outcome.code == 2);
    CHECK(outcome.err == "movielens: " + checkpoint.string() + ": " + reason + "\n");
  };
  refused("1234", "is no safetensors file, or truncated: 4 bytes");
  // A model is no checkpoint.
  REQUIRE(training.train("model").code == 0);
  refused(content_of(training.model("model")), "is no checkpoint of a training");
  // Without --resume a training starts anew, whatever there is.
  CHECK(training.train("out").code == 0);
  CHECK_FALSE(std::filesystem::exists(checkpoint));
}

TEST_CASE("movielens train --resume: a checkpoint whose parts do not fit together is refused",
          "[movielens][resume][error]") {
  const SmallTraining training;
  const auto directory = training.out("out");
  const auto path = directory / "checkpoint.safetensors";
  const Arguments options = {"--epochs=12", "--local-search=swap", "--search-epochs=12",
                             "--resume"};
  Child child(training.arguments("out", options), training.out("err"));
  while (content_of(directory / "metrics.jsonl").empty())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  REQUIRE(child.end(SIGTERM) == 130);
  const std::string content = content_of(path);
  const comet::TensorFile whole(path);
  const Json state = Json::parse(whole.metadata().at("training"));

  const auto refused = [&](std::vector<comet::Tensor> tensors, const Json& description,
                           const std::string& reason) {
    comet::save_tensors(path, std::move(tensors), {{"training", description.dump()}});
    const Outcome outcome = training.train("out", options);
    CHECK(outcome.code == 2);
    CHECK(lines_in(outcome.err) == 1);
    CHECK_THAT(outcome.err, StartsWith("movielens: " + path.string() + ": " + reason));
  };
  for (const char* key : {"progress", "logs"}) {
    INFO(key);
    Json without = state;
    without.erase(key);
    refused(whole.tensors(), without, "its description of the training is damaged");
  }
  for (const auto& [place, value] :
       std::vector<std::pair<std::string, Json>>{{"/logs/metrics", nullptr},
                                                 {"/logs/steps", "none"},
                                                 {"/progress/epoch", 13},
                                                 {"/progress/epoch", 0},
                                                 {"/progress/batch", 1'000'000},
                                                 {"/progress/best_epoch", -1},
                                                 {"/progress/best_epoch", 12}}) {
    INFO(place << " " << value);
    Json other = state;
    other[Json::json_pointer(place)] = value;
    refused(whole.tensors(), other, "its description of the training is damaged");
  }
  const auto changed = [&](const std::string& name, std::vector<comet::Index> shape,
                           std::span<const std::byte> bytes, const std::string& reason) {
    INFO(name);
    std::vector<comet::Tensor> tensors = whole.tensors();
    const auto found = std::find_if(tensors.begin(), tensors.end(),
                                    [&](const comet::Tensor& t) { return t.name == name; });
    REQUIRE(found != tensors.end());
    found->shape = std::move(shape);
    found->bytes = bytes;
    refused(tensors, state, reason);
  };
  const auto of = [&](const char* name) { return whole.tensor(name).bytes; };
  const std::vector<std::int32_t> no_permutation(of("gates.0.permutations").size() /
                                                 sizeof(std::int32_t));  // zeros
  const std::vector<std::int64_t> no_step = {1 << 20};
  changed("gates.0.permutations", whole.tensor("gates.0.permutations").shape,
          std::as_bytes(std::span(no_permutation)), "the tensors \"gates.*\" are no state: ");
  changed("search.step", {1}, std::as_bytes(std::span(no_step)),
          "the tensors \"search.*\" are no state: ");
  changed("adam.mean", {2}, of("adam.mean").first(2 * sizeof(float)),
          "tensor \"adam.mean\" has 2 numbers, expected ");

  std::ofstream(path, std::ios::binary) << content;
  CHECK(training.train("out", options).code == 0);
}

TEST_CASE("movielens train --no-weights, --from-pretrained", "[movielens][resume]") {
  const SmallTraining training;
  REQUIRE(training.train("without", {"--no-weights"}).code == 0);
  CHECK_FALSE(std::filesystem::exists(training.model("without")));
  REQUIRE(training.train("first", {"--local-search=swap"}).code == 0);

  // Learning next to nothing, the second model is the first one.
  const std::string from = "--from-pretrained=" + training.model("first");
  REQUIRE(training.train("second", {from, "--learning-rate=1e-12", "--epochs=1"}).code == 0);
  CHECK(training.result("second").at("test").at("loss").get<double>() ==
        Approx(training.result("first").at("test").at("loss").get<double>()).epsilon(1e-5));
  CHECK(training.result("second").at("options").at("from_pretrained") == training.model("first"));

  const auto refused = [&](const Arguments& more, const std::string& reason) {
    const Outcome outcome = training.train("refused", more);
    CHECK(outcome.code == 2);
    CHECK_THAT(outcome.err, ContainsSubstring(reason));
    CHECK_FALSE(std::filesystem::exists(training.out("refused")));
  };
  refused({from, "--experts=6"}, "tensor \"experts.5.weight\" is missing");
  refused({from, "--gate=top_k"}, "tensor \"gates.0.weight\" is missing");
  refused({from, "--head-dim=7"},
          "tensor \"heads.0.hidden.weight\" has shape [6, 6], expected [7, 6]");
  refused({"--from-pretrained=" + training.out("none").string()}, "none: cannot be read");
  const std::string before = content_of(training.model("first"));
  const Outcome over = training.train("first", {from});
  CHECK(over.code == 2);
  CHECK_THAT(over.err, ContainsSubstring("--out is ") &&
                           ContainsSubstring("which is read and would be lost"));
  CHECK(content_of(training.model("first")) == before);
  const std::string other = training.out("other").string();
  REQUIRE(run_program({"synthesize", other, "--users=31", "--items=40", "--ratings=400"}).code ==
          0);
  refused({from, "--data=" + other}, "is a model of other users or items than those of synthetic");
}

TEST_CASE("movielens train --sparse-by: the file of a model has the gamma that it came to",
          "[movielens][training]") {
  const SmallTraining training;
  REQUIRE(training.train("steered", {"--sparse-by=2", "--entropy=0", "--epochs=4"}).code == 0);
  const Outcome evaluated = run_program(
      {"evaluate", "--data", training.data(), "--model", training.model("steered"), "--json"});
  INFO(evaluated.err);
  REQUIRE(evaluated.code == 0);
  const auto test = training.result("steered").at("test");
  const auto again = nlohmann::json::parse(evaluated.out);
  for (const char* figure : {"loss", "mse", "auc", "experts_per_sample"})
    CHECK(again.at(figure) == test.at(figure));
  REQUIRE(training.train("free", {"--entropy=0", "--epochs=4"}).code == 0);
  CHECK(test.at("experts_per_sample").get<double>() <
        training.result("free").at("test").at("experts_per_sample").get<double>());
}
