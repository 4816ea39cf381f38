// SPDX-License-Identifier: MIT
// The mixture as a class that Python loads by torch.classes: comet_torch.py is written on it. Needs
// no header of Python's.
#include <torch/custom_class.h>
#include <torch/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <comet/adapters/detail/torch_bridge.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/core/random.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/metrics/routing.hpp>
#include <comet/moe_layer.hpp>

namespace {

using namespace comet;
using at::Tensor;
using Sizes = c10::Dict<std::string, std::int64_t>;
using Numbers = c10::Dict<std::string, double>;
using Named = std::vector<std::tuple<std::string, Tensor>>;

constexpr const char* where = "comet_torch.MoE";

/// What Python sees of a module, whatever its scalar type.
struct Mixture {
  virtual ~Mixture() = default;
  virtual Named parameters() const = 0;
  virtual Named state() const = 0;
  virtual void replace_parameters(std::vector<Tensor> tensors) = 0;
  virtual std::tuple<Tensor, Tensor> run(const Tensor& x, const Tensor& ids, const Tensor& mask,
                                         bool training) = 0;
  virtual void end_of_step() = 0;
  virtual void anneal(const GateAnnealing& settings) = 0;
  virtual std::string summary() const = 0;
};

template <class S>
class MixtureOf final : public Mixture {
 public:
  using Layer = MoeLayer<AnyGate<S>, MlpExpert<S>>;

  MixtureOf(Layer layer, std::int64_t key, Index threads)
      : bridge_(std::move(layer), key, threads) {}

  Named parameters() const override { return named(bridge_.parameters()); }
  Named state() const override { return named(bridge_.state()); }
  void replace_parameters(std::vector<Tensor> tensors) override {
    bridge_.replace_parameters(std::move(tensors));
  }
  std::tuple<Tensor, Tensor> run(const Tensor& x, const Tensor& ids, const Tensor& mask,
                                 bool training) override {
    const auto [y, penalty] = bridge_.run(x, ids, mask, training);
    return {y, penalty};
  }
  void end_of_step() override { bridge_.end_of_step({}); }
  void anneal(const GateAnnealing& settings) override {
    bridge_.change([&](Layer& layer) {
      for (auto& gate : layer.gates()) comet::anneal(gate, settings);
    });
  }
  std::string summary() const override { return comet::summary(bridge_.pass()); }

 private:
  static Named named(const comet::detail::TorchTensors& from) {
    Named result;
    for (std::size_t i = 0; i < from.names.size(); ++i)
      result.emplace_back(from.names[i], from.tensors[i]);
    return result;
  }

  comet::detail::TorchBridge<Layer> bridge_;
};

/// The options of a gate that Python has given by name.
GateOptions gate_options(const Sizes& sizes, const Numbers& numbers) {
  GateOptions options{
      .input_dim = sizes.at("input_dim"), .num_experts = sizes.at("experts"), .k = sizes.at("k")};
  const std::map<std::string, std::optional<double>*> known = {
      {"gamma", &options.gamma},
      {"entropy", &options.entropy},
      {"spread", &options.spread},
      {"reachability", &options.reachability},
      {"split_scale", &options.split_scale},
      {"load_balance", &options.load_balance},
      {"importance", &options.importance},
      {"router_z", &options.router_z},
      {"rate", &options.rate},
      {"temperature", &options.temperature},
      {"trimmed_lasso", &options.trimmed_lasso},
      {"sparsity", &options.sparsity},
      {"growth", &options.growth}};
  for (const auto& entry : numbers) {
    if (entry.key() == "num_ids") {
      options.num_ids = Index(entry.value());
    } else if (entry.key() == "noise") {
      options.noise = entry.value() != 0;
    } else if (entry.key() == "normalize") {
      options.normalize = entry.value() != 0;
    } else if (entry.key() == "softmax_all") {
      options.softmax = entry.value() != 0 ? TopKSoftmax::all : TopKSoftmax::selected;
    } else if (const auto found = known.find(entry.key()); found != known.end()) {
      *found->second = entry.value();
    } else {
      comet::detail::raise(where, "there is no option " + entry.key());
    }
  }
  return options;
}

Activation activation_of(const std::string& name) {
  if (name == "relu") return Activation::relu;
  if (name == "gelu") return Activation::gelu;
  if (name == "silu") return Activation::silu;
  comet::detail::raise(where, "activation", name, "relu, gelu or silu");
}

template <class S>
std::unique_ptr<Mixture> make(const std::string& gate, const std::string& activation,
                              double dropout, const Sizes& sizes, const Numbers& numbers) {
  const std::int64_t seed = sizes.at("key");
  const RandomKey key{std::uint64_t(seed)};
  std::vector<AnyGate<S>> gates;
  for (Index t = 0; t < sizes.at("tasks"); ++t)
    gates.push_back(make_gate<S>(gate, gate_options(sizes, numbers), key.fold(0).fold(t)));
  auto experts = make_experts<MlpExpert<S>>(sizes.at("experts"),
                                            {.input_dim = sizes.at("input_dim"),
                                             .hidden_dim = sizes.at("hidden_dim"),
                                             .output_dim = sizes.at("output_dim"),
                                             .dropout = dropout,
                                             .activation = activation_of(activation)},
                                            key.fold(1));
  return std::make_unique<MixtureOf<S>>(MoeLayer(std::move(gates), std::move(experts)),
                                        std::int64_t(key.fold(2).value()), sizes.at("threads"));
}

/// The class, torch.classes.comet.MoE.
class Moe final : public torch::CustomClassHolder {
 public:
  Moe(const std::string& dtype, const std::string& gate, const std::string& activation,
      double dropout, const Sizes& sizes, const Numbers& numbers)
      : mixture_(dtype == "float64" ? make<double>(gate, activation, dropout, sizes, numbers)
                                    : make<float>(gate, activation, dropout, sizes, numbers)) {}

  [[nodiscard]] Mixture& mixture() const { return *mixture_; }

 private:
  std::unique_ptr<Mixture> mixture_;
};
using Self = c10::intrusive_ptr<Moe>;

TORCH_LIBRARY(comet, library) {
  library.class_<Moe>("MoE")
      .def(torch::init<const std::string&, const std::string&, const std::string&, double,
                       const Sizes&, const Numbers&>())
      .def("parameters", [](const Self& self) { return self->mixture().parameters(); })
      .def("state", [](const Self& self) { return self->mixture().state(); })
      .def("replace_parameters",
           [](const Self& self, std::vector<Tensor> tensors) {
             self->mixture().replace_parameters(std::move(tensors));
           })
      .def("run",
           [](const Self& self, const Tensor& x, const torch::optional<Tensor>& ids,
              const torch::optional<Tensor>& mask, bool training) {
             return self->mixture().run(x, ids.value_or(Tensor()), mask.value_or(Tensor()),
                                        training);
           })
      .def("summary", [](const Self& self) { return self->mixture().summary(); })
      .def("end_of_step", [](const Self& self) { self->mixture().end_of_step(); })
      .def("anneal", [](const Self& self, const Numbers& numbers) {
        GateAnnealing settings;
        for (const auto& entry : numbers) {
          if (entry.key() == "gamma") {
            settings.gamma = entry.value();
          } else if (entry.key() == "entropy") {
            settings.entropy = entry.value();
          } else if (entry.key() == "spread") {
            settings.spread = entry.value();
          } else {
            comet::detail::raise(where, "anneal() has no option " + entry.key());
          }
        }
        self->mixture().anneal(settings);
      });
}

}  // namespace
