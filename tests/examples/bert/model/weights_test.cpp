// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <comet/io/safetensors.hpp>

#include <bert/model/network.hpp>
#include <bert/model/weights.hpp>
#include <examples/bert/golden_bert.hpp>
#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>
#include <support/temporary_directory.hpp>

using namespace comet;
using comet::test::Json;
using programs::bert::Bert;
using programs::bert::BertConfig;

namespace {

const Json& toy() {
  static const Json cases = test::golden("bert_forward.json");
  return cases.front();
}

Bert<double> toy_model() { return test::bert_of<double>(toy().at("config"), toy().at("params")); }

/// The toy's tensors under other names; those that become empty are left out.
template <class Rename>
std::filesystem::path written(const test::TemporaryDirectory& directory, Rename rename) {
  const Bert<double> model = toy_model();
  std::vector<Tensor> tensors;
  for (Tensor& tensor : parameter_tensors(model))
    if (const std::string name = rename(tensor.name); !name.empty()) {
      tensor.name = name;
      tensors.push_back(tensor);
    }
  const std::vector<std::int64_t> positions(16);
  tensors.push_back(make_tensor<std::int64_t>("embeddings.position_ids", {1, 16}, positions));
  save_tensors(directory.path() / "model.safetensors", std::move(tensors));
  return directory.path() / "model.safetensors";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

void write(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file) << text;
}

std::string config_text(const std::string& change = "", const std::string& to = "") {
  return replaced(
      R"({"model_type": "bert", "hidden_act": "gelu", "vocab_size": 60, "hidden_size": 12,
"num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 24,
"max_position_embeddings": 16, "type_vocab_size": 2, "layer_norm_eps": 1e-12})",
      change, to);
}

}  // namespace

TEST_CASE("weights come by the names of old and new files") {
  const test::TemporaryDirectory directory;
  const auto expected = test::values_of(toy_model());
  const auto load = [&](auto rename) {
    Bert<double> model(toy_model().config());
    CHECK(programs::bert::load_pretrained(TensorFile(written(directory, rename)), model));
    CHECK(test::values_of(model) == expected);
  };
  load([](const std::string& name) { return name; });
  load([](const std::string& name) {
    return name.starts_with("classifier") ? name : "bert." + name;
  });
  load([](const std::string& name) {
    return "bert." + replaced(replaced(name, "LayerNorm.weight", "LayerNorm.gamma"),
                              "LayerNorm.bias", "LayerNorm.beta");
  });
}

TEST_CASE("an encoder's file leaves the classifier alone") {
  const test::TemporaryDirectory directory;
  Bert<double> model(toy_model().config());
  programs::bert::draw_classifier(model, RandomKey(3));
  const Matrix<double> drawn = model.classifier.weight;
  CHECK(drawn.cwiseAbs().maxCoeff() > 0);
  CHECK(!programs::bert::load_pretrained(TensorFile(written(directory,
                                                            [](const std::string& name) {
                                                              return name.starts_with("classifier")
                                                                         ? std::string()
                                                                         : name;
                                                            })),
                                         model));
  CHECK(model.classifier.weight == drawn);
  CHECK(model.pooler.weight == toy_model().pooler.weight);
}

TEST_CASE("files that do not fit are refused in a line") {
  const test::TemporaryDirectory directory;
  const auto refused = [&](BertConfig config, auto rename, const std::string& why) {
    Bert<double> model(config);
    const auto before = test::values_of(model);
    CHECK_THROWS_WITH(
        programs::bert::load_pretrained(TensorFile(written(directory, rename)), model),
        ContainsSubstring(why));
    CHECK(test::values_of(model) == before);
  };
  const auto same = [](const std::string& name) { return name; };
  const BertConfig config = toy_model().config();
  refused(
      config,
      [](const std::string& name) {
        return name.find("layer.1.attention.self") == std::string::npos ? name : std::string();
      },
      "lacks encoder.layer.1.attention.self.query.weight, "
      "encoder.layer.1.attention.self.query.bias, encoder.layer.1.attention.self.key.weight "
      "and 3 more tensors of a BERT of the sizes in config.json");
  BertConfig other = config;
  other.vocab = 61;
  refused(other, same,
          R"(tensor "embeddings.word_embeddings.weight" has shape [60, 12], expected [61, 12])");
  other = config;
  other.layers = 1;
  refused(other, same, "is none of a BERT of the sizes in config.json");
}

TEST_CASE("config.json is read and checked") {
  const test::TemporaryDirectory directory;
  const auto file = directory.path() / "config.json";
  write(file, config_text());
  const BertConfig config = programs::bert::read_config(file);
  BertConfig expected = toy_model().config();
  expected.labels = 2;
  CHECK(config == expected);
  CHECK(programs::bert::config_from(programs::bert::to_json(config)) == config);

  const auto refused = [&](const std::string& from, const std::string& to, const char* why) {
    CAPTURE(from, to);
    write(file, config_text(from, to));
    CHECK_THROWS_WITH(programs::bert::read_config(file), ContainsSubstring(why));
  };
  refused("\"hidden_size\": 12,", "", "has no hidden_size");
  refused("\"hidden_size\": 12", "\"hidden_size\": 13", "a multiple of num_attention_heads = 3");
  refused("\"hidden_size\": 12", "\"hidden_size\": \"12\"", "expected a whole number");
  refused("\"vocab_size\": 60", "\"vocab_size\": 0", "vocab_size is 0, expected at least 1");
  refused("\"vocab_size\": 60", "\"vocab_size\": 99999999999", "at most 2^24");
  refused("\"gelu\"", "\"relu\"", "hidden_act is \"relu\", expected \"gelu\"");
  refused("\"bert\"", "\"roberta\"", "model_type is \"roberta\"");
  refused("1e-12", "0", "layer_norm_eps");
  refused("1e-12", "\"1e-12\"", "layer_norm_eps is \"1e-12\", expected a number");
  refused("{", "{\"is_decoder\": true, ", "is_decoder is true, expected false");
  refused("{", "", "is not a JSON object");
}

// The folder of the model whose sums the golden file has, scripts/bert_data.sh brings it.
TEST_CASE("the pretrained model matches the reference", "[golden]") {
  const char* folder = std::getenv("COMET_BERT_MODEL");
  if (folder == nullptr) {
    WARN("COMET_BERT_MODEL does not say where the pretrained model is: not compared");
    return;
  }
  const Json c = test::golden("bert_pretrained.json").front();
  const std::filesystem::path path = folder;
  Bert<float> model(programs::bert::read_config(path / "config.json"));
  CHECK(!programs::bert::load_pretrained(TensorFile(path / "model.safetensors"), model));
  const auto batch = test::batch_of(c);
  const auto got = programs::bert::activations(model, batch);
  REQUIRE(got.hidden.size() == c.at("hidden_states").size());
  for (std::size_t l = 0; l < got.hidden.size(); ++l) {
    const Json& expected = c.at("hidden_states")[l];
    const Matrix<double> real = test::real(got.hidden[l], batch).cast<double>();
    CHECK(real.mean() == Approx(expected.at("mean").get<double>()).margin(1e-6));
    CHECK(real.squaredNorm() / double(real.size()) ==
          Approx(expected.at("mean_of_squares").get<double>()).epsilon(1e-5));
    CHECK(real.cwiseAbs().maxCoeff() == Approx(expected.at("largest").get<double>()).epsilon(1e-5));
    for (Index row = 0; row < batch.size(); ++row) {
      const Index first = row * batch.length();
      const Index last = first + Index(batch.sentences.mask.col(row).sum()) - 1;
      for (Index i = 0; i < 8; ++i)
        CHECK(
            double(got.hidden[l](i, first)) ==
            Approx(
                expected.at("first_token_first_8")[std::size_t(row)][std::size_t(i)].get<double>())
                .margin(1e-5));
      for (Index i = 0; i < 4; ++i)
        CHECK(double(got.hidden[l](got.hidden[l].rows() - 4 + i, last)) ==
              Approx(expected.at("last_real_token_last_4")[std::size_t(row)][std::size_t(i)]
                         .get<double>())
                  .margin(1e-5));
    }
  }
  for (Index row = 0; row < batch.size(); ++row)
    for (Index i = 0; i < 16; ++i)
      CHECK(double(got.pooled(i, row)) ==
            Approx(c.at("pooled")[std::size_t(row)][std::size_t(i)].get<double>()).margin(1e-6));
}
