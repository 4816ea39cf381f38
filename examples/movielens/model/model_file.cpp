// SPDX-License-Identifier: MIT
#include <movielens/model/model_file.hpp>

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <stdexcept>
#include <utility>

#include <comet/gates/any.hpp>
#include <comet/gates/hash.hpp>

#include <programs/base/fingerprint.hpp>
#include <programs/base/json.hpp>
#include <programs/training/finite_weights.hpp>
#include <programs/training/gate_steering.hpp>
#include <programs/training/model_description.hpp>

namespace programs::movielens {
namespace {

using Hash = comet::HashGate<float>;

constexpr const char* description_key = "movielens_model";
constexpr const char* user_ids_name = "user_ids";
constexpr const char* item_ids_name = "item_ids";

/// Before the names of what a gate of a task keeps besides parameters, a bias by load for example.
std::string state_prefix(std::size_t task) { return "gate_state." + std::to_string(task) + "."; }

/// Of the gate of a task that is a table.
std::string table_name(std::size_t task) { return "gates." + std::to_string(task) + ".table"; }

/// Ids as bytes, one per line, since they may be any text; and back.
std::vector<std::string> ids_of(const comet::TensorFile& file, const char* name) {
  const auto bytes = file.values<std::uint8_t>(name);
  std::vector<std::string> ids;
  std::string id;
  for (const std::uint8_t byte : bytes) {
    if (byte != '\n') {
      id += static_cast<char>(byte);
    } else {
      ids.push_back(std::exchange(id, {}));
    }
  }
  return ids;
}

std::vector<std::uint8_t> bytes_of(const std::vector<std::string>& ids) {
  std::vector<std::uint8_t> bytes;
  for (const std::string& id : ids) {
    bytes.insert(bytes.end(), id.begin(), id.end());
    bytes.push_back('\n');
  }
  return bytes;
}

comet::Metadata describe(const TrainOptions& options, const Dataset& data, const Order& order,
                         const std::vector<comet::GateAnnealing>& annealing) {
  const Json description = {{"options", to_json(options)},
                            {"source", data.source},
                            {"content", fingerprint_of(data)},
                            {"users", data.rows.num_users},
                            {"items", data.rows.num_items},
                            {"permutations", programs::to_json(order)},
                            {"annealing", programs::to_json(annealing)}};
  return {{description_key, description.dump()}};
}

}  // namespace

void check_ids(const ModelFile& file, const std::vector<std::string>& user_ids,
               const std::vector<std::string>& item_ids, const std::string& source) {
  if (file.user_ids() != user_ids || file.item_ids() != item_ids)
    file.file().refuse("is a model of other users or items than those of " + source);
}

ModelFile::ModelFile(const std::filesystem::path& path) : file_(path) {
  read_model_description(file_, description_key, [this](const Json& json) {
    options_ = options_from(json.at("options"));
    options_.model.num_users = json.at("users");
    options_.model.num_items = json.at("items");
    source_ = json.at("source");
    content_ = json.value("content", "");
    order_ = order_from(json.at("permutations"));
    annealing_ = annealing_from(json.value("annealing", Json::array()));
    check(options_);
  });
  user_ids_ = ids_of(file_, user_ids_name);
  item_ids_ = ids_of(file_, item_ids_name);
  check_sizes();
}

/// A model is built by these numbers before its tensors are compared: they have to be true.
void ModelFile::check_sizes() const {
  const ModelOptions& m = options_.model;
  const auto check_shape = [&](const std::string& name, Index rows, Index cols) {
    if (file_.tensor(name).shape != std::vector<Index>{rows, cols})
      file_.refuse("tensor \"" + name + "\" does not have the shape of the model's description");
  };
  check_shape("user_embedding.weight", m.num_users, m.embedding_dim);
  check_shape("item_embedding.weight", m.num_items, m.embedding_dim);
  check_shape("heads.0.hidden.weight", m.head_dim, m.expert_dim);
  for (Index i = 0; i < num_experts_of(options_); ++i)
    check_shape("experts." + std::to_string(i) + ".weight", m.expert_dim, 2 * m.embedding_dim);
  if (Index(user_ids_.size()) != m.num_users || Index(item_ids_.size()) != m.num_items)
    file_.refuse("does not have one id for each user and each item");
  expect_finite(file_);
}

void ModelFile::load(Model& model) const {
  auto& gates = model.gates();
  std::set<std::string> others = {user_ids_name, item_ids_name};
  for (std::size_t task = 0; task < gates.size(); ++task) others.insert(table_name(task));
  for (const comet::Tensor& tensor : file_.tensors())
    if (tensor.name.starts_with("gate_state.")) others.insert(tensor.name);
  comet::load_parameters(file_, model, "", others);
  try {
    for (std::size_t task = 0; task < gates.size(); ++task)
      if (Hash* const hash = gates[task].gate().get_if<Hash>(); hash != nullptr)
        *hash = Hash(file_.values<comet::ExpertId>(table_name(task)), hash->num_experts());
    for (std::size_t task = 0; task < gates.size(); ++task)
      comet::load_state(file_, gates[task].gate(), state_prefix(task));
    set_order(gates, order_);
    GateSteering::apply(annealing_, gates);
  } catch (const std::logic_error& error) {
    file_.refuse(std::string("does not fit the model: ") + error.what());
  }
}

std::string fingerprint_of(const Dataset& data) {
  Fingerprint content;
  for (const TwoTaskRows* rows : {&data.rows.train, &data.rows.validation, &data.rows.test})
    content.add(std::span<const std::int32_t>(rows->user))
        .add(std::span<const std::int32_t>(rows->item))
        .add(std::span<const float>(rows->rating));
  return content.text();
}

void save_model(const std::filesystem::path& path, const Model& model, const TrainOptions& options,
                const Dataset& data, const std::vector<comet::GateAnnealing>& annealing) {
  const auto& gates = model.gates();
  std::vector<comet::Tensor> tensors = comet::parameter_tensors(model);
  for (std::size_t task = 0; task < gates.size(); ++task)
    if (const Hash* const hash = gates[task].gate().get_if<Hash>(); hash != nullptr)
      tensors.push_back(
          comet::make_tensor<comet::ExpertId>(table_name(task), {hash->num_ids()}, hash->table()));
  for (std::size_t task = 0; task < gates.size(); ++task) {
    const auto state = comet::state_tensors(gates[task].gate(), state_prefix(task));
    tensors.insert(tensors.end(), state.begin(), state.end());
  }
  const auto users = bytes_of(data.user_ids);
  const auto items = bytes_of(data.item_ids);
  tensors.push_back(comet::make_tensor<std::uint8_t>(user_ids_name, {Index(users.size())}, users));
  tensors.push_back(comet::make_tensor<std::uint8_t>(item_ids_name, {Index(items.size())}, items));
  comet::save_tensors(path, std::move(tensors),
                      describe(options, data, order_of(gates), annealing));
}

}  // namespace programs::movielens
