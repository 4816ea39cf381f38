// SPDX-License-Identifier: MIT
#include <bert/model/model_file.hpp>

#include <cstddef>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

#include <comet/gates/any.hpp>
#include <comet/gates/hash.hpp>
#include <comet/io/safetensors.hpp>

#include <bert/data/tasks.hpp>
#include <bert/model/build_model.hpp>
#include <programs/base/json.hpp>
#include <programs/training/finite_weights.hpp>
#include <programs/training/gate_steering.hpp>
#include <programs/training/model_description.hpp>

namespace programs::bert {
namespace {

using Hash = comet::HashGate<float>;

constexpr const char* description_key = "bert_model";
constexpr const char* state_prefix = "gate_state.";  // of what a gate keeps beside parameters
constexpr const char* table_prefix = "gate_table.";  // of gates that are one

[[noreturn]] void refuse_description(const comet::TensorFile& file, const std::string& why) {
  file.refuse("its description of the model is damaged: " + why);
}

std::string table_name(std::size_t gate) { return table_prefix + std::to_string(gate); }

}  // namespace

ModelFile::ModelFile(const std::filesystem::path& path) : file_(path) {
  read_model_description(file_, description_key, [this](const Json& json) {
    options_ = options_from(json.at("options"));
    config_ = config_from(json.at("config"));
    content_ = json.at("content");
    vocabulary_ = json.value("vocabulary", "");
    order_ = order_from(json.at("permutations"));
    annealing_ = annealing_from(json.at("annealing"));
    table_of(options_).check();
  });
  expect_finite(file_);
  check_sizes();
}

/// A model is built by these numbers before its tensors are compared: they have to be true.
void ModelFile::check_sizes() const {
  try {
    check_units(options_, config_.intermediate);
  } catch (const std::invalid_argument& error) {
    refuse_description(file_, error.what());
  }
  const Task& task = task_named(options_.task);
  if (config_.labels != task.num_labels())
    refuse_description(file_, "num_labels is " + std::to_string(config_.labels) + ", expected " +
                                  std::to_string(task.num_labels()) + ", those of " +
                                  options_.task);
  if (options_.max_length > config_.positions)
    refuse_description(file_, "max_length is " + std::to_string(options_.max_length) +
                                  ", expected at most the " + std::to_string(config_.positions) +
                                  " positions");
  const auto check_shape = [&](const std::string& name, Index rows, Index cols) {
    if (file_.tensor(name).shape != std::vector<Index>{rows, cols})
      file_.refuse("tensor \"" + name + "\" does not have the shape of the model's description");
  };
  check_shape("embeddings.word_embeddings.weight", config_.vocab, config_.hidden);
  check_shape("embeddings.position_embeddings.weight", config_.positions, config_.hidden);
  check_shape("embeddings.token_type_embeddings.weight", config_.types, config_.hidden);
  check_shape("classifier.weight", config_.labels, config_.hidden);
  const std::string last = "encoder.layer." + std::to_string(config_.layers - 1) + ".";
  if (is_dense(options_.gate)) {
    check_shape(last + "intermediate.dense.weight", dense_units(options_, config_.intermediate),
                config_.hidden);
  } else {
    check_shape(last + "moe.experts." + std::to_string(options_.num_experts - 1) + ".hidden.weight",
                options_.shared + options_.own, config_.hidden);
  }
}

Bert<float> ModelFile::model() const {
  Bert<float> model = [this] {
    try {
      return options_.distils ? empty_student(options_, config_) : Bert<float>(config_);
    } catch (const std::logic_error& error) {  // what a gate refuses, say
      refuse_description(file_, error.what());
    }
  }();
  load(model);
  return model;
}

void ModelFile::load(Bert<float>& model) const {
  std::set<std::string> others;
  for (const comet::Tensor& tensor : file_.tensors())
    if (tensor.name.starts_with(state_prefix) || tensor.name.starts_with(table_prefix))
      others.insert(tensor.name);
  comet::load_parameters(file_, model, "", others);
  try {
    auto& gates = model.gates();
    for (std::size_t i = 0; i < gates.size(); ++i)
      if (Hash* const hash = gates[i].gate().get_if<Hash>(); hash != nullptr)
        *hash = Hash(file_.values<comet::ExpertId>(table_name(i)), hash->num_experts());
    comet::load_state(file_, gates, state_prefix);
    set_order(gates, order_);
    GateSteering::apply(annealing_, gates);
  } catch (const std::logic_error& error) {
    file_.refuse(std::string("does not fit the model: ") + error.what());
  }
}

void save_model(const std::filesystem::path& path, const Bert<float>& model,
                const TrainOptions& options, const BertConfig& config, const std::string& content,
                const std::string& vocabulary, const std::vector<comet::GateAnnealing>& annealing) {
  std::vector<comet::Tensor> tensors = comet::parameter_tensors(model);
  const auto gates = model.gates();
  for (std::size_t i = 0; i < gates.size(); ++i)
    if (const Hash* const hash = gates[i].gate().get_if<Hash>(); hash != nullptr)
      tensors.push_back(
          comet::make_tensor<comet::ExpertId>(table_name(i), {hash->num_ids()}, hash->table()));
  const auto state = comet::state_tensors(gates, state_prefix);
  tensors.insert(tensors.end(), state.begin(), state.end());
  const Json description = {{"options", to_json(options)},
                            {"config", to_json(config)},
                            {"content", content},
                            {"vocabulary", vocabulary},
                            {"permutations", programs::to_json(order_of(gates))},
                            {"annealing", programs::to_json(annealing)}};
  comet::save_tensors(path, std::move(tensors), {{description_key, description.dump()}});
}

}  // namespace programs::bert
