// SPDX-License-Identifier: MIT
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include <nlohmann/json.hpp>

#include <comet/core/random.hpp>
#include <comet/io/safetensors.hpp>

#include <bert/model/bert.hpp>
#include <bert/model/config.hpp>
#include <examples/bert/small_study.hpp>
#include <support/catch.hpp>

using namespace programs::bert::test;
using programs::bert::Bert;
using programs::bert::BertConfig;

TEST_CASE("bert: bad input ends with 2 and one line", "[bert][error]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher") == 0);
  const auto refused = [&](const std::string& command, const Arguments& more,
                           const std::string& why) {
    CAPTURE(command, more, why);
    check_refused(study.small(command, "refused", more), why);
    CHECK_FALSE(std::filesystem::exists(study.out("refused") / "result.json"));
  };
  refused("finetune", {"--max-length=25"}, "--max-length is 25, expected at most the 24 positions");
  refused("finetune", {"--task=CoLO"}, "CoLA");
  refused("finetune", {"--task=RTE"}, "train.tsv: cannot be opened");
  refused("distil", {"--own=5"}, "--shared + --experts * --own is 24, expected at most the 16");
  refused("distil", {"--teacher=" + study.out("model/model.safetensors").string()},
          "is no model of this program");
  refused("distil", {"--teacher=" + study.out("none").string()}, "cannot be read");
  refused("distil", {"--k=5"}, "--k is 5, expected from 1 to --experts = 4");
  refused("distil", {"--gate=dense", "--local-search=relaxed"},
          "--local-search is relaxed, and a dense model has no experts to put in order");
  refused("distil", {"--gate=dense_one", "--record=" + study.out("record").string()},
          ", and a dense model has no gates to tell of");
  refused("finetune", {"--record=" + study.out("record").string()},
          ", and a dense model has no gates to tell of");
  refused("compare", {"--local-searches=swap"}, "\"swap\" is none of none,relaxed");
  refused("distil", {"--gate=dense_wide"}, "--units is 0, expected the units of dense_wide");
  refused("distil", {"--gate=dense_wide", "--units=17"},
          "--units is 17, expected from 1 to 16, those of the teacher");
  refused("compare", {"--gates=dense_17"}, "--units is 17, expected from 1 to 16");
  for (const std::string row : {"dense_0", "dense_07", "dense_7x", "dense_", "dense_12345678"})
    refused("compare", {"--gates=" + row}, "\"" + row + "\" is none of");

  const auto with = [&](const std::filesystem::path& file, const std::string& text, auto check) {
    const std::string before = content_of(file);
    std::ofstream(file) << text;
    check();
    std::ofstream(file) << before;
  };
  const auto train = study.out("glue") / "CoLA" / "train.tsv";
  with(train, "x\t1\t\tthe\nx\t2\t\ta\n", [&] { refused("finetune", {}, "train.tsv"); });
  with(train, "x\t1\t\tthe\nx\t1\n", [&] { refused("finetune", {}, "train.tsv"); });
  const auto vocabulary = study.out("model") / "vocab.txt";
  with(vocabulary, content_of(vocabulary) + "onemore\n",
       [&] { refused("finetune", {}, "vocab.txt"); });
  const auto config = study.out("model") / "config.json";
  std::string wider = content_of(config);
  wider.replace(wider.find("\"intermediate_size\":16"), 22, "\"intermediate_size\":17");
  with(config, wider,
       [&] { refused("finetune", {}, "encoder.layer.1.intermediate.dense.weight"); });
  std::string deeper = content_of(config);
  deeper.replace(deeper.find("\"num_hidden_layers\":2"), 21, "\"num_hidden_layers\":3");
  with(config, deeper,
       [&] { refused("finetune", {}, "lacks encoder.layer.2.attention.self.query.weight"); });
  std::string endless = content_of(config);
  endless.replace(endless.find("\"num_hidden_layers\":2"), 21, "\"num_hidden_layers\":16777216");
  with(config, endless, [&] {
    refused("finetune", {}, "lacks encoder.layer.16777215.attention.self.query.weight");
  });
  std::string uneven = content_of(config);
  uneven.replace(uneven.find("\"num_attention_heads\":3"), 23, "\"num_attention_heads\":5");
  with(config, uneven,
       [&] { refused("finetune", {}, "config.json: hidden_size is 12, expected a multiple of"); });
}

TEST_CASE("bert compare: what a later row or seed lacks is found before the first is trained",
          "[bert][error]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher-1") == 0);
  std::filesystem::copy(study.out("teacher-1"), study.out("teacher"));
  const auto refused = [&](const Arguments& more, const std::string& why) {
    check_refused(study.small("compare", "late", more), why);
    CHECK_FALSE(std::filesystem::exists(study.out("late") / "dense-none-seed1"));
  };
  refused({"--gates=dense", "--seeds=1,2", "--teacher=" + study.model("teacher-{seed}")},
          study.model("teacher-2") + ": cannot be read");
  check_refused({"moefy", "--teacher=" + study.model("teacher-{seed}"), "--seed=1",
                 "--out=" + study.model("teacher-1")},
                "which is read and would be lost");
  refused({"--gates=dense,comet", "--own=5"}, "--shared + --experts * --own is 24");
  refused({"--gates=dense,dense_17"}, "--units is 17, expected from 1 to 16");
  Arguments no_teacher = study.small("compare", "late", {"--gates=teacher"});
  std::erase(no_teacher, "--teacher=" + study.model("teacher"));
  check_refused(no_teacher, "--teacher is missing");
}

TEST_CASE("bert: a training does not write over what it reads", "[bert][error]") {
  const SmallStudy study;
  const std::string lost = "which is read and would be lost";
  const auto refused = [&](const std::filesystem::path& kept, const Arguments& arguments) {
    CAPTURE(arguments, kept);
    const std::string before = content_of(kept);
    check_refused(arguments, lost);
    CHECK(content_of(kept) == before);
  };
  const std::filesystem::path pretrained = study.model("model");
  refused(pretrained, study.small("finetune", "model", {}));
  refused(pretrained, study.small("finetune", "model", {"--resume"}));
  REQUIRE(study.train("finetune", "teacher") == 0);
  refused(study.model("teacher"), study.small("distil", "teacher", {}));
  refused(pretrained, study.small("distil", "model", {}));
  std::filesystem::copy(study.out("teacher"), study.out("student"));
  refused(study.model("student"),
          study.small("distil", "student", {"--from-pretrained=" + study.model("student")}));
  for (const std::string name : {"glue/CoLA/train.tsv", "glue/CoLA/dev.tsv", "model/vocab.txt",
                                 "model/config.json", "model/model.safetensors"}) {
    Arguments moefy = study.small("moefy", name, {});
    std::erase_if(moefy, [](const std::string& argument) {
      return argument == "--quiet" || argument == "--epochs=2";
    });
    refused(study.out(name), moefy);
  }
  check_refused({"moefy", "--out", ""}, "--out is empty, expected a value");
  // The folder of a training that names none.
  {
    const auto before = std::filesystem::current_path();
    std::filesystem::create_directories(study.out("results"));
    std::filesystem::copy(study.out("teacher"), study.out("results/dense"));
    std::filesystem::current_path(study.out(""));
    Arguments arguments =
        study.small("distil", "", {"--gate=dense", "--teacher=results/dense/model.safetensors"});
    std::erase(arguments, "--out=" + study.out("").string());
    check_refused(arguments, "--out is \"results/dense/model.safetensors\", " + lost);
    std::filesystem::current_path(before);
  }
  // A trial of a search that goes on.
  const auto trial = study.out("searches/one/trials/0001");
  std::filesystem::create_directories(trial.parent_path());
  std::filesystem::copy(study.out("teacher"), trial);
  const auto space = study.out("space.json");
  std::ofstream(space) << R"({"learning_rate": {"log_uniform": [1e-5, 1e-3]}})";
  Arguments tune =
      study.small("tune", "",
                  {"--space=" + space.string(), "--trials=2", "--resume",
                   "--results=" + study.out("searches").string(), "--experiment-name=one",
                   "--teacher=" + (trial / "model.safetensors").string()});
  std::erase(tune, "--out=" + study.out("").string());
  refused(trial / "model.safetensors", tune);
}

TEST_CASE("bert: models that are not for pairs, or not for one another", "[bert][error]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher") == 0);
  const auto change = [&](auto what) {
    const auto folder = study.out("model");
    BertConfig config = programs::bert::read_config(folder / "config.json");
    what(config);
    std::ofstream(folder / "config.json") << programs::bert::to_json(config).dump();
    Bert<float> model(config);
    programs::bert::draw_weights(model, comet::RandomKey(7));
    comet::save_parameters(folder / "model.safetensors", model);
  };
  const Outcome alone = run_program({"evaluate", "--model=" + study.model("teacher"), "--json",
                                     "--data=" + study.out("glue").string(),
                                     "--pretrained=" + study.out("model").string()});
  CHECK(alone.code == 0);
  CHECK_THAT(alone.out, ContainsSubstring("\"loss\"") && !ContainsSubstring("hidden_error"));
  change([](BertConfig& config) { config.heads = 2; });
  REQUIRE(study.train("finetune", "other") == 0);
  check_refused(
      {"evaluate", "--model=" + study.model("teacher"), "--teacher=" + study.model("other"),
       "--data=" + study.out("glue").string(), "--pretrained=" + study.out("model").string()},
      study.model("other") + ": has other sizes than the teacher of " + study.model("teacher"));
  change([](BertConfig& config) { config.types = 1; });
  CHECK(study.train("finetune", "sentences") == 0);
  check_refused(study.small("finetune", "pairs", {"--task=RTE"}),
                "--task is RTE, whose rows are pairs, and the model's type_vocab_size is 1");
}

TEST_CASE("bert: a vocabulary of as many other pieces, or in another order", "[bert][error]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher") == 0);
  REQUIRE(study.train("distil", "student", {"--gate=top_k"}) == 0);
  const auto vocabulary = study.out("model") / "vocab.txt";
  const std::string before = content_of(vocabulary);
  const Arguments evaluate = {"evaluate", "--model=" + study.model("student"),
                              "--data=" + study.out("glue").string(),
                              "--pretrained=" + study.out("model").string()};
  Arguments moefy = study.small("moefy", "made.safetensors", {});
  std::erase_if(moefy, [](const std::string& argument) {
    return argument == "--quiet" || argument == "--epochs=2";
  });
  const auto all_refused = [&] {
    const std::string other =
        ": is a model of other pieces, or in another order, than those of " + vocabulary.string();
    check_refused(evaluate, study.model("student") + other);
    check_refused(study.small("distil", "refused", {}), study.model("teacher") + other);
    check_refused(moefy, study.model("teacher") + other);
    CHECK_FALSE(std::filesystem::exists(study.out("refused")));
    CHECK_FALSE(std::filesystem::exists(study.out("made.safetensors")));
  };
  const auto write = [&](const std::string& text) { std::ofstream(vocabulary) << text; };
  const auto changed = [&](const std::string& was, const std::string& is) {
    std::string text = before;
    REQUIRE(text.find(was) != std::string::npos);
    text.replace(text.find(was), was.size(), is);
    return text;
  };
  write(changed("\nthe\n", "\nthey\n"));
  all_refused();
  const std::string swapped = before.substr(before.rfind('\n', before.size() - 2) + 1) +
                              before.substr(0, before.rfind('\n', before.size() - 2) + 1);
  write(swapped);
  all_refused();
  // Lines may end as Windows ends them: the pieces are the same.
  std::string windows;
  for (const char c : before) windows += c == '\n' ? "\r\n" : std::string(1, c);
  write(windows);
  CHECK(run_program(evaluate).code == 0);
  // A file of before that says nothing of its vocabulary is taken.
  write(swapped);
  const auto old = study.out("old.safetensors");
  programs::test::write_changed_model(study.model("student"), old, R"(\"vocabulary\":)",
                                      R"(\"was\":)");
  Arguments of_old = evaluate;
  of_old[1] = "--model=" + old.string();
  CHECK(run_program(of_old).code == 0);
}

TEST_CASE("bert: weights that are not finite", "[bert][error]") {
  const SmallStudy study;
  const auto file = study.out("model") / "model.safetensors";
  const std::string before = content_of(file);
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    std::string bytes = before;
    std::memcpy(bytes.data() + bytes.size() - sizeof value, &value, sizeof value);
    std::ofstream(file, std::ios::binary) << bytes;
    check_refused(study.small("finetune", "refused", {}),
                  "\" holds nan or an infinity, expected finite weights");
    CHECK_FALSE(std::filesystem::exists(study.out("refused")));
  }
}

TEST_CASE("bert: pipes in the place of files", "[bert][error]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher") == 0);
  const auto refused = [&](const std::filesystem::path& file, const std::string& command,
                           const Arguments& more, const std::string& why) {
    const auto away = file.string() + ".away";
    if (std::filesystem::exists(file)) std::filesystem::rename(file, away);
    REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
    check_refused(study.small(command, "refused", more), file.string() + ": " + why);
    std::filesystem::remove(file);
    if (std::filesystem::exists(away)) std::filesystem::rename(away, file);
  };
  const std::string other = "is not a regular file";
  refused(study.out("glue") / "CoLA" / "dev.tsv", "finetune", {}, other);
  refused(study.out("model") / "vocab.txt", "finetune", {}, other);
  refused(study.out("model") / "config.json", "finetune", {}, other);
  refused(study.out("model") / "model.safetensors", "finetune", {}, "cannot be read");
  refused(study.model("teacher"), "distil", {}, "cannot be read");
}

TEST_CASE("bert: damaged models", "[bert][error]") {
  const SmallStudy study;
  REQUIRE(study.train("finetune", "teacher") == 0);
  REQUIRE(study.train("distil", "student", {"--gate=top_k"}) == 0);
  REQUIRE(study.train("distil", "with_gamma", {"--gate=comet"}) == 0);
  const auto broken = study.out("broken.safetensors");
  const Arguments evaluate = {"evaluate", "--model=" + broken.string(),
                              "--data=" + study.out("glue").string(),
                              "--pretrained=" + study.out("model").string()};
  std::string model = "student";
  const auto refused = [&](const std::string& was, const std::string& is, const std::string& why) {
    CAPTURE(model, was, is);
    const auto quoted = [](std::string text) {  // JSON within JSON
      for (std::size_t at = 0; (at = text.find('"', at)) != std::string::npos; at += 2)
        text.insert(at, 1, '\\');
      return text;
    };
    programs::test::write_changed_model(study.model(model), broken, quoted(was), quoted(is));
    check_refused(evaluate, broken.string() + ": " + why);
  };
  const std::string damaged = "its description of the model is damaged: ";
  refused(R"("intermediate_size":16)", R"("intermediate_size":11)",
          damaged + "--shared + --experts * --own is 12, expected at most the 11 units");
  refused(R"("max_length":20)", R"("max_length":25)",
          damaged + "max_length is 25, expected at most the 24 positions");
  refused(
      R"("permutations":[[[0,1,2,3]],[[0,1,2,3]]])", R"("permutations":[[[0,1,2,3]]])",
      "does not fit the model: comet::set_order: order.size() is 1, expected number of gates = 2");
  refused(R"("experts":4)", R"("experts":5)",
          "tensor \"encoder.layer.1.moe.experts.4.hidden.weight\"");
  refused(R"("task":"CoLA")", R"("task":"STS-B")",
          damaged + "num_labels is 2, expected 1, those of STS-B");
  model = "with_gamma";  // which a float cannot hold
  refused(R"("gamma":0.1)", R"("gamma":1e-40)", damaged);
  programs::test::check_cut_model_refused<Program>(study.model("student"), broken, evaluate);
}
