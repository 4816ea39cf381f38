// SPDX-License-Identifier: MIT
#include <bert/model/weights.hpp>

#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/parameters.hpp>
#include <comet/io/safetensors.hpp>

#include <programs/base/file_error.hpp>

namespace programs::bert {
namespace {

constexpr std::string_view prefix = "bert.";

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  if (const auto at = text.find(from); at != std::string::npos)
    return text.replace(at, from.size(), to);
  return text;
}

/// What a tensor of ours may be called in a file.
std::vector<std::string> names_of(const std::string& name) {
  const std::string old = replaced(replaced(name, "LayerNorm.weight", "LayerNorm.gamma"),
                                   "LayerNorm.bias", "LayerNorm.beta");
  return {name, std::string(prefix) + name, old, std::string(prefix) + old};
}

const comet::Tensor* find(const comet::TensorFile& file, const std::string& name) {
  for (const std::string& each : names_of(name))
    if (const comet::Tensor* tensor = file.find(each)) return tensor;
  return nullptr;
}

/// Whether it is part of an encoder, so that the model should have it.
bool is_of_encoder(std::string_view name) {
  if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  if (name == "embeddings.position_ids") return false;
  return name.starts_with("embeddings.") || name.starts_with("encoder.");
}

void check_shape(const comet::TensorFile& file, const comet::Tensor& tensor,
                 const std::vector<Index>& shape) {
  if (tensor.shape != shape)
    file.refuse("tensor \"" + tensor.name + "\" has shape " +
                comet::detail::shape_text(tensor.shape) + ", expected " +
                comet::detail::shape_text(shape));
  if (tensor.dtype != "F32" && tensor.dtype != "F64" && tensor.dtype != "F16" &&
      tensor.dtype != "BF16")
    file.refuse("tensor \"" + tensor.name + "\" has numbers of type " + tensor.dtype +
                ", expected F32, F64, F16 or BF16");
}

template <class S>
void copy_numbers(const comet::TensorFile& file, const comet::Tensor& tensor,
                  comet::Parameter<S>& to) {
  const auto convert = [&]<class T>(const std::vector<T>& values) {
    for (std::size_t i = 0; i < values.size(); ++i) to.data()[i] = S(values[i]);
  };
  if (tensor.dtype == "F32") return convert(file.values<float>(tensor.name));
  if (tensor.dtype == "F64") return convert(file.values<double>(tensor.name));
  comet::detail::copy_numbers(tensor, to.data());
}

[[noreturn]] void refuse_missing(const comet::TensorFile& file,
                                 const std::vector<std::string>& missing) {
  constexpr std::size_t most = 3;
  std::string text = "lacks";
  for (std::size_t i = 0; i < missing.size() && i < most; ++i)
    text += (i == 0 ? " " : ", ") + missing[i];
  if (missing.size() > most)
    text += " and " + std::to_string(missing.size() - most) + " more tensors";
  file.refuse(text + " of a BERT of the sizes in config.json");
}

}  // namespace

void check_sizes(const comet::TensorFile& file, const BertConfig& c) {
  const auto check = [&](const std::string& name, Index rows, Index cols) {
    const comet::Tensor* tensor = find(file, name);
    if (tensor == nullptr) refuse_missing(file, {name});
    check_shape(file, *tensor, {rows, cols});
  };
  check("embeddings.word_embeddings.weight", c.vocab, c.hidden);
  check("embeddings.position_embeddings.weight", c.positions, c.hidden);
  check("embeddings.token_type_embeddings.weight", c.types, c.hidden);
  const std::string last = "encoder.layer." + std::to_string(c.layers - 1);
  check(last + ".attention.self.query.weight", c.hidden, c.hidden);
  check(last + ".intermediate.dense.weight", c.intermediate, c.hidden);
}

template <class S>
bool load_pretrained(const comet::TensorFile& file, Bert<S>& model) {
  std::vector<std::string> missing;
  std::set<std::string> known;
  std::vector<std::pair<const comet::Tensor*, comet::Parameter<S>*>> pairs;
  bool has_classifier = false;
  comet::for_each_parameter(
      model, [&](const comet::ParameterName& parameter_name, comet::Parameter<S>& parameter) {
        const std::string name = parameter_name.str();
        const bool is_classifier = name.starts_with("classifier.");
        const comet::Tensor* tensor = find(file, name);
        if (tensor != nullptr) {
          known.insert(tensor->name);
          pairs.emplace_back(tensor, &parameter);
          has_classifier = has_classifier || is_classifier;
        } else if (!is_classifier || has_classifier) {
          missing.push_back(name);
        }
      });
  if (!missing.empty()) refuse_missing(file, missing);
  for (const auto& [tensor, parameter] : pairs) check_shape(file, *tensor, parameter->shape());
  for (const comet::Tensor& tensor : file.tensors())
    if (is_of_encoder(tensor.name) && !known.contains(tensor.name))
      file.refuse("tensor \"" + tensor.name + "\" is none of a BERT of the sizes in config.json");
  for (const auto& [tensor, parameter] : pairs) {
    copy_numbers(file, *tensor, *parameter);
    if (!parameter->allFinite())
      file.refuse("tensor \"" + tensor->name +
                  "\" holds nan or an infinity, expected finite weights");
  }
  return has_classifier;
}

template bool load_pretrained(const comet::TensorFile&, Bert<float>&);
template bool load_pretrained(const comet::TensorFile&, Bert<double>&);

}  // namespace programs::bert
