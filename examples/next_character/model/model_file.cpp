// SPDX-License-Identifier: MIT
#include <next_character/model/model_file.hpp>

#include <cstddef>
#include <cstdint>
#include <set>
#include <stdexcept>
#include <utility>

#include <comet/gates/any.hpp>
#include <comet/gates/hash.hpp>

#include <next_character/model/build_model.hpp>
#include <programs/base/json.hpp>
#include <programs/training/finite_weights.hpp>
#include <programs/training/gate_steering.hpp>
#include <programs/training/model_description.hpp>

namespace programs::next_character {
namespace {

using Hash = comet::HashGate<float>;

constexpr const char* description_key = "next_character_model";
constexpr const char* table_name = "gates.0.table";  // of a gate that is one
constexpr const char* state_prefix = "gate_state.";  // of what a gate keeps beside parameters

comet::Metadata describe(const TrainOptions& options, const Text& text, const Order& order,
                         const std::vector<comet::GateAnnealing>& annealing) {
  const auto bytes = text.alphabet.bytes();
  const Json description = {{"options", to_json(options)},
                            {"source", text.source},
                            {"content", fingerprint_of(text)},
                            {"alphabet", std::vector<int>(bytes.begin(), bytes.end())},
                            {"permutations", programs::to_json(order)},
                            {"annealing", programs::to_json(annealing)}};
  return {{description_key, description.dump()}};
}

}  // namespace

ModelFile::ModelFile(const std::filesystem::path& path) : file_(path) {
  read_model_description(file_, description_key, [this](const Json& json) {
    options_ = options_from(json.at("options"));
    source_ = json.at("source");
    content_ = json.value("content", "");
    alphabet_ = Alphabet::of_bytes(json.at("alphabet").get<std::vector<std::uint8_t>>());
    order_ = order_from(json.at("permutations"));
    annealing_ = annealing_from(json.value("annealing", Json::array()));
    check(options_);
  });
  check_sizes();
}

/// A model is built by these numbers before its tensors are compared: they have to be true.
void ModelFile::check_sizes() const {
  const ModelOptions m = model_of(options_);
  const auto check_shape = [&](const std::string& name, Index rows, Index cols) {
    if (file_.tensor(name).shape != std::vector<Index>{rows, cols})
      file_.refuse("tensor \"" + name + "\" does not have the shape of the model's description");
  };
  check_shape("embedding.weight", alphabet_.size(), m.embedding_dim);
  check_shape("input.weight", m.hidden_dim, m.window * m.embedding_dim);
  check_shape("output.weight", alphabet_.size(), m.hidden_dim);
  for (Index i = 0; i < m.num_experts; ++i)
    check_shape("experts." + std::to_string(i) + ".hidden.weight", m.expert_dim, m.hidden_dim);
  expect_finite(file_);
}

Model ModelFile::model() const {
  // A gate's table is in the file; until it is loaded, every character is as frequent as others.
  const std::vector<std::int64_t> frequency(std::size_t(alphabet_.size()), 0);
  Model model = build_model(options_, frequency);
  load(model);
  return model;
}

void ModelFile::load(Model& model) const {
  std::set<std::string> others = {table_name};
  for (const comet::Tensor& tensor : file_.tensors())
    if (tensor.name.starts_with(state_prefix)) others.insert(tensor.name);
  comet::load_parameters(file_, model, "", others);
  auto& gate = model.gates().front().gate();
  try {
    if (Hash* const hash = gate.get_if<Hash>(); hash != nullptr)
      *hash = Hash(file_.values<comet::ExpertId>(table_name), hash->num_experts());
    comet::load_state(file_, gate, state_prefix);
    set_order(model.gates(), order_);
    GateSteering::apply(annealing_, model.gates());
  } catch (const std::logic_error& error) {
    file_.refuse(std::string("does not fit the model: ") + error.what());
  }
}

void ModelFile::check_alphabet(const Text& text) const {
  if (alphabet_ != text.alphabet)
    file_.refuse("is a model of other characters than those of " + text.source +
                 "; name the text of its training: --data PATH");
}

void save_model(const std::filesystem::path& path, const Model& model, const TrainOptions& options,
                const Text& text, const std::vector<comet::GateAnnealing>& annealing) {
  std::vector<comet::Tensor> tensors = comet::parameter_tensors(model);
  const auto& gate = model.gates().front().gate();
  if (const Hash* const hash = gate.get_if<Hash>(); hash != nullptr)
    tensors.push_back(
        comet::make_tensor<comet::ExpertId>(table_name, {hash->num_ids()}, hash->table()));
  const auto state = comet::state_tensors(gate, state_prefix);
  tensors.insert(tensors.end(), state.begin(), state.end());
  comet::save_tensors(path, std::move(tensors),
                      describe(options, text, order_of(model.gates()), annealing));
}

}  // namespace programs::next_character
