// SPDX-License-Identifier: MIT
#include <two_pictures/model/model_file.hpp>

#include <cstddef>
#include <set>
#include <stdexcept>

#include <comet/gates/any.hpp>

#include <programs/base/json.hpp>
#include <programs/training/finite_weights.hpp>
#include <programs/training/gate_steering.hpp>
#include <programs/training/model_description.hpp>
#include <two_pictures/model/build_model.hpp>

namespace programs::two_pictures {
namespace {

constexpr const char* description_key = "two_pictures_model";

std::string state_prefix(std::size_t task) { return "gate_state." + std::to_string(task) + "."; }

Json describe(const ModelOptions& sizes) {
  return {{"height", sizes.height},
          {"width", sizes.width},
          {"tasks", sizes.num_tasks},
          {"classes", sizes.num_classes}};
}

}  // namespace

ModelFile::ModelFile(const std::filesystem::path& path) : file_(path) {
  read_model_description(file_, description_key, [this](const Json& json) {
    options_ = options_from(json.at("options"));
    check(options_);
    order_ = order_from(json.at("permutations"));
    annealing_ = annealing_from(json.value("annealing", Json::array()));
    num_pictures_ = json.at("pictures");
    content_ = json.value("content", "");
    const Json& examples = json.at("examples");
    sizes_ = options_.model;
    sizes_.height = examples.at("height");
    sizes_.width = examples.at("width");
    sizes_.num_tasks = examples.at("tasks");
    sizes_.num_classes = examples.at("classes");
    sizes_.num_experts =
        num_experts_of_row(options_.gate, options_.model.num_experts, options_.k, sizes_.num_tasks);
  });
  check_sizes();
}

/// A model is built by these numbers before its tensors are compared: they have to be true.
void ModelFile::check_sizes() const {
  constexpr Index most = 1 << 24;
  const auto check_shape = [&](const std::string& name, const std::vector<Index>& shape) {
    if (file_.tensor(name).shape != shape)
      file_.refuse("tensor \"" + name + "\" does not have the shape of the model's description");
  };
  if (sizes_.num_tasks < 1 || sizes_.num_tasks > 2 || num_pictures_ < 0 || num_pictures_ > most)
    file_.refuse("its description of the model is damaged");
  for (Index task = 0; task < sizes_.num_tasks; ++task)
    check_shape("heads." + std::to_string(task) + ".output.weight",
                {sizes_.num_classes, sizes_.head_dim});
  const Index edge = sizes_.kernel - 1;
  const auto after = [&](Index pixels) { return ((pixels - edge) / 2 - edge) / 2; };
  for (Index i = 0; i < sizes_.num_experts; ++i) {
    const std::string expert = "experts." + std::to_string(i);
    check_shape(expert + ".0.weight", {sizes_.filters, sizes_.kernel, sizes_.kernel, 1});
    check_shape(
        expert + ".4.weight",
        {sizes_.expert_dim, after(sizes_.height) * after(sizes_.width) * sizes_.second_filters});
  }
  expect_finite(file_);
}

Model ModelFile::model() const {
  Model model = build_model(options_, sizes_, num_pictures_);
  load(model);
  return model;
}

void ModelFile::load(Model& model) const {
  std::set<std::string> others;
  for (const comet::Tensor& tensor : file_.tensors())
    if (tensor.name.starts_with("gate_state.")) others.insert(tensor.name);
  comet::load_parameters(file_, model, "", others);
  try {
    for (std::size_t task = 0; task < model.gates().size(); ++task)
      comet::load_state(file_, model.gates()[task].gate(), state_prefix(task));
    set_order(model.gates(), order_);
    GateSteering::apply(annealing_, model.gates());
  } catch (const std::logic_error& error) {
    file_.refuse(std::string("does not fit the model: ") + error.what());
  }
}

void ModelFile::check_examples(const Dataset& data) const {
  const Examples& examples = data.test;
  if (examples.height() != sizes_.height || examples.width() != sizes_.width ||
      examples.num_tasks() != sizes_.num_tasks || examples.num_classes() != sizes_.num_classes)
    file_.refuse("is a model of " + std::to_string(sizes_.height) + " x " +
                 std::to_string(sizes_.width) + " pixels and " +
                 std::to_string(sizes_.num_classes) + " classes, not of what is made of " +
                 data.source);
}

void save_model(const std::filesystem::path& path, const Model& model, const TrainOptions& options,
                const Dataset& data, const std::vector<comet::GateAnnealing>& annealing) {
  std::vector<comet::Tensor> tensors = comet::parameter_tensors(model);
  for (std::size_t task = 0; task < model.gates().size(); ++task) {
    const auto state = comet::state_tensors(model.gates()[task].gate(), state_prefix(task));
    tensors.insert(tensors.end(), state.begin(), state.end());
  }
  const Json description = {{"options", to_json(options)},
                            {"source", data.source},
                            {"content", fingerprint_of(data)},
                            {"pictures", data.train.num_pictures()},
                            {"examples", describe(model_of(options, data.train))},
                            {"permutations", programs::to_json(order_of(model.gates()))},
                            {"annealing", programs::to_json(annealing)}};
  comet::save_tensors(path, std::move(tensors), {{description_key, description.dump()}});
}

}  // namespace programs::two_pictures
