// SPDX-License-Identifier: MIT
#include <bert/model/config.hpp>

#include <stdexcept>
#include <string_view>

#include <comet/core/check.hpp>

#include <programs/base/file_error.hpp>
#include <programs/base/files.hpp>

namespace programs::bert {
namespace {

constexpr std::string_view said_by_check = "comet::BertConfig: ";

/// What else a config.json may ask for, and what is computed here.
void check_kind(const Json& json) {
  const auto expect = [&](const char* key, const Json& only) {
    const Json value = json.value(key, only);
    if (value != only)
      throw std::invalid_argument(std::string(key) + " is " + value.dump() + ", expected " +
                                  only.dump());
  };
  expect("model_type", "bert");
  expect("hidden_act", "gelu");
  expect("position_embedding_type", "absolute");
  expect("is_decoder", false);  // whose tokens do not see those after them
}

}  // namespace

void check(const BertConfig& c) {
  constexpr const char* where = "BertConfig";
  constexpr Index most = Index(1) << 24;
  const auto check_size = [&](const char* name, Index size) {
    comet::detail::check_at_least(where, name, size, 1);
    comet::detail::check_at_most(where, name, size, "2^24", most);
  };
  check_size("vocab_size", c.vocab);
  check_size("hidden_size", c.hidden);
  check_size("num_hidden_layers", c.layers);
  check_size("num_attention_heads", c.heads);
  check_size("intermediate_size", c.intermediate);
  check_size("max_position_embeddings", c.positions);
  check_size("type_vocab_size", c.types);
  check_size("num_labels", c.labels);
  if (c.hidden % c.heads != 0)
    comet::detail::raise(where, "hidden_size", c.hidden,
                         "a multiple of num_attention_heads = " + std::to_string(c.heads));
  comet::detail::check_positive(where, "layer_norm_eps", c.epsilon);
}

Json to_json(const BertConfig& c) {
  return {{"model_type", "bert"},
          {"hidden_act", "gelu"},
          {"vocab_size", c.vocab},
          {"hidden_size", c.hidden},
          {"num_hidden_layers", c.layers},
          {"num_attention_heads", c.heads},
          {"intermediate_size", c.intermediate},
          {"max_position_embeddings", c.positions},
          {"type_vocab_size", c.types},
          {"layer_norm_eps", c.epsilon},
          {"num_labels", c.labels}};
}

BertConfig config_from(const Json& json) {
  check_kind(json);
  const auto size = [&](const char* key) {
    const Json& value = json.at(key);
    if (!value.is_number_integer())
      throw std::invalid_argument(std::string(key) + " is " + value.dump() +
                                  ", expected a whole number");
    return value.get<Index>();
  };
  BertConfig c;
  c.vocab = size("vocab_size");
  c.hidden = size("hidden_size");
  c.layers = size("num_hidden_layers");
  c.heads = size("num_attention_heads");
  c.intermediate = size("intermediate_size");
  c.positions = size("max_position_embeddings");
  if (json.contains("type_vocab_size")) c.types = size("type_vocab_size");
  if (json.contains("num_labels")) c.labels = size("num_labels");
  const Json epsilon = json.value("layer_norm_eps", Json(c.epsilon));
  if (!epsilon.is_number())
    throw std::invalid_argument("layer_norm_eps is " + epsilon.dump() + ", expected a number");
  c.epsilon = epsilon;
  check(c);
  return c;
}

BertConfig read_config(const std::filesystem::path& file) {
  expect_regular(file);
  const Json json = parse_json(read_file(file));
  if (!json.is_object()) throw FileError(file, "is not a JSON object");
  try {
    return config_from(json);
  } catch (const Json::out_of_range&) {
    for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                            "intermediate_size", "max_position_embeddings"})
      if (!json.contains(key)) throw FileError(file, "has no " + std::string(key));
    throw;
  } catch (const Json::exception&) {
    throw FileError(file, "has a number that is none");
  } catch (const std::invalid_argument& error) {
    std::string what = error.what();
    if (what.starts_with(said_by_check)) what.erase(0, said_by_check.size());
    throw FileError(file, what);
  }
}

}  // namespace programs::bert
