// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <comet/core/random.hpp>
#include <comet/io/safetensors.hpp>

#include <bert/model/bert.hpp>
#include <examples/bert/run_program.hpp>
#include <examples/bert/small_vocabulary.hpp>

namespace programs::bert::test {

using programs::test::content_of;
using Json = nlohmann::json;
// A child of a process that has used LibTorch's threads or gone back a graph cannot: what trains is
// a child, and what does not has one thread.
using Child = programs::test::Child<Program>;

/// A model of a few thousand numbers, a task of a hundred rows, and trainings on them.
class SmallStudy : public programs::test::Trainings {
 public:
  SmallStudy() {
    std::filesystem::create_directories(out("model"));
    std::filesystem::create_directories(out("glue") / "CoLA");
    const programs::bert::Vocabulary vocabulary = small_vocabulary();
    std::ofstream pieces(out("model") / "vocab.txt");
    for (programs::bert::TokenId id = 0; id < vocabulary.size(); ++id)
      pieces << vocabulary[id] << '\n';
    const BertConfig config{.vocab = vocabulary.size(),
                            .hidden = 12,
                            .layers = 2,
                            .heads = 3,
                            .intermediate = 16,
                            .positions = 24};
    std::ofstream(out("model") / "config.json") << programs::bert::to_json(config).dump();
    Bert<float> model(config);
    programs::bert::draw_weights(model, comet::RandomKey(7));
    comet::save_parameters(out("model") / "model.safetensors", model);
    write_rows("train.tsv", 90, 1);
    write_rows("dev.tsv", 30, 2);
  }

  [[nodiscard]] Arguments small(const std::string& command, const std::string& name,
                                const Arguments& more) const {
    Arguments all = {command,
                     "--out=" + out(name).string(),
                     "--data=" + out("glue").string(),
                     "--pretrained=" + out("model").string(),
                     "--max-length=20",
                     "--batch-size=8",
                     "--epochs=2",
                     "--threads=1",
                     "--quiet"};
    if (command != "finetune")
      all.insert(all.end(), {"--teacher=" + model("teacher"), "--experts=4", "--shared=4",
                             "--own=2", "--importance-share=.5"});
    all.insert(all.end(), more.begin(), more.end());
    return programs::test::last_of_each(all);
  }
  /// \return its exit status
  int train(const std::string& command, const std::string& name, const Arguments& more = {}) const {
    return Child(small(command, name, more), out("err")).wait();
  }

  /// All that a training leaves, but for times.
  [[nodiscard]] std::string remains(const std::string& name) const {
    const auto timeless = [](Json json) {
      for (const char* time : {"seconds", "seconds_per_epoch", "test_seconds", "threads"})
        json.erase(time);
      for (const char* part : {"test", "validation"})
        if (json.contains(part)) {
          json[part].erase("tokens_per_second");
          json[part].erase("trained_tokens_per_second");
        }
      return json.dump() + '\n';
    };
    std::string all = timeless(result(name));
    std::istringstream epochs(content_of(out(name) / "metrics.jsonl"));
    for (std::string line; std::getline(epochs, line);) all += timeless(Json::parse(line));
    return all + content_of(out(name) / "steps.jsonl") +
           content_of(out(name) / "model.safetensors");
  }

 private:
  void write_rows(const char* name, int rows, std::uint64_t seed) const {
    const std::vector<std::string> words = {"the", "a", "we", "of", "and", "in", "to", "not"};
    const comet::RandomKey key(seed);
    std::ofstream file(out("glue") / "CoLA" / name);
    for (int row = 0; row < rows; ++row) {
      const auto place = key.fold(row);
      file << "x\t" << place.index(0, 2) << "\t\t";
      for (std::uint64_t word = 0; word < 2 + place.index(1, 12); ++word)
        file << words[std::size_t(place.fold(0).index(word, words.size()))] << ' ';
      file << '\n';
    }
  }
};

}  // namespace programs::bert::test
