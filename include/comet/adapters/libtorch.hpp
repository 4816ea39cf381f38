// SPDX-License-Identifier: MIT
#pragma once

#include <ATen/ATen.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/common.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <utility>

#include <comet/adapters/detail/torch_bridge.hpp>
#include <comet/core/check.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>

/// \file
/// \brief A mixture as a module of LibTorch: forward and backward through autograd, parameters and
/// gradients as tensors over comet's own memory. Needs LibTorch, target comet::libtorch.

namespace comet {

/// Settings of a TorchMoe.
struct TorchMoeOptions {
  /// Of noise and dropout; left out, it is drawn from torch's generator (`torch::manual_seed`).
  std::optional<RandomKey> key = {};
  Index threads = 1;  ///< Threads that share a call, the calling one included.
};

/// \brief What a TorchMoe points to, whatever the layer inside: TorchMoeLayer has the rest.
class TorchMoeImpl : public torch::nn::Module {
 public:
  TorchMoeImpl() : torch::nn::Module("comet::TorchMoe") {}
  TorchMoeImpl(const TorchMoeImpl&) = delete;
  TorchMoeImpl& operator=(const TorchMoeImpl&) = delete;
  ~TorchMoeImpl() override = default;

  /// \brief The mixtures: forward() of the layer in train(), predict() in eval().
  /// \param x     (..., d), of the layer's scalar type, on the CPU; in C order it is not copied
  /// \param ids   one for each sample, of int32 or int64, where a gate wants them
  /// \param mask  one for each sample, of bool or uint8: true for a sample, false for padding,
  ///              whose mixture is 0
  /// \return (..., m), or (T, ..., m) for T > 1 tasks
  /// \throws std::invalid_argument naming what does not fit
  /// \throws NotFinite as the layer does
  virtual torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& ids = {},
                                const torch::Tensor& mask = {}) = 0;
  /// \brief Sum of the gates' penalties in the last forward(), a number in its graph: add it to the
  /// loss, or the gates train without. 0 in eval(). Not in one expression with forward(): C++ may
  /// evaluate the operands of + in either order.
  /// \throws std::invalid_argument unless it stands between a forward() and its backward pass
  [[nodiscard]] torch::Tensor regularization() const {
    constexpr const char* where = "TorchMoe::regularization";
    if (!regularization_.defined()) detail::raise(where, "there was no forward() before it");
    if (is_used())
      detail::raise(where,
                    "there was no forward() since the last backward pass; in one expression "
                    "with it, C++ may evaluate this first: write y = forward(x) before");
    return regularization_;
  }
  /// \brief Tells gates that want it the load of the step: that of the last forward() in train().
  /// \param load  another one, e.g. of several forward(): n numbers for each task
  /// \throws std::invalid_argument if the gates have no use for it
  virtual void end_of_step(std::span<const Index> load = {}) = 0;

  /// \brief Nothing, if it is where and what it is already. \throws std::invalid_argument otherwise
  void to(torch::Device device, torch::Dtype dtype, bool /*non_blocking*/ = false) override {
    check_device(device);
    check_dtype(dtype);
  }
  /// \brief Nothing, if it is of that type. \throws std::invalid_argument otherwise
  void to(torch::Dtype dtype, bool /*non_blocking*/ = false) override { check_dtype(dtype); }
  /// \brief Nothing, if it is there. \throws std::invalid_argument otherwise
  void to(torch::Device device, bool /*non_blocking*/ = false) override { check_device(device); }

 protected:
  /// The dtype of the layer's scalar.
  [[nodiscard]] virtual torch::Dtype dtype() const = 0;
  /// Whether the graph of the last forward() has been gone back along.
  [[nodiscard]] virtual bool is_used() const = 0;
  /// The last penalty.
  void set_regularization(torch::Tensor value) { regularization_ = std::move(value); }

  /// \throws std::invalid_argument for another device than the CPU
  static void check_device(torch::Device device) {
    if (!device.is_cpu())
      detail::raise("TorchMoe::to",
                    "the device is " + detail::torch_text(device) + "; comet computes on the CPU");
  }
  /// \throws std::invalid_argument for another type than the layer's
  void check_dtype(torch::Dtype wanted) const {
    if (wanted != dtype())
      detail::raise("TorchMoe::to", "the dtype is " + detail::torch_text(wanted) +
                                        ", and the layer is of " + detail::torch_text(dtype()) +
                                        "; make one of that scalar type");
  }

  /// \cond  what Sequential calls forward(x) with
  FORWARD_HAS_DEFAULT_ARGS({1, torch::nn::AnyValue(torch::Tensor())},
                           {2, torch::nn::AnyValue(torch::Tensor())})
  /// \endcond

 private:
  torch::Tensor regularization_;
};

/// \brief A mixture as a torch module. A copy is the same module; clone() is another one.
///
/// \code
///   struct Net : torch::nn::Module {
///     comet::TorchMoe mixture = register_module("mixture", comet::make_torch_moe(layer));
///     torch::nn::Linear head = register_module("head", torch::nn::Linear(64, 2));
///     torch::Tensor forward(torch::Tensor x) { return head(mixture->forward(x)); }
///   };
///   torch::optim::AdamW optimizer(net.parameters(), 1e-3);
///   loss = cross_entropy(net.forward(x), y);
///   loss = loss + net.mixture->regularization();
/// \endcode
class TorchMoe : public torch::nn::ModuleHolder<TorchMoeImpl> {
 public:
  using torch::nn::ModuleHolder<TorchMoeImpl>::ModuleHolder;
  using Impl = TorchMoeImpl;  ///< As torch's own holders have it.
};

/// \brief The module around a layer of a known type: `moe->as<TorchMoeLayer<Layer>>()`.
///
/// Parameters have the layer's names (`experts.0.weight`), each part of a name a module, and lie in
/// the layer's memory. Buffers are what has no gradient: biases of a selection, permutations, and
/// `random`: the key, and how many forward() have drawn from it. What is written to either by torch
/// is taken over by the next call.
///
/// \par Cost     the layer's, one tensor a parameter in the backward pass, and the gates' backward
///               pass once more where penalties are not in the loss with weight 1
/// \par Threads  one at a time, as any module
/// \tparam Layer  a MoeLayer of a TrainableGate or a gate without parameters and TrainableExperts
template <class Layer>
class TorchMoeLayer final : public TorchMoeImpl {
 public:
  using S = typename Layer::Scalar;  ///< float or double.

  /// Takes the layer over. \throws std::invalid_argument if threads < 0
  TorchMoeLayer(Layer layer, std::int64_t key, Index threads)
      : TorchMoeLayer(std::make_unique<Bridge>(std::move(layer), key, threads)) {}

  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& ids = {},
                        const torch::Tensor& mask = {}) override {
    auto [y, penalty] = bridge_->run(x, ids, mask, is_training());
    set_regularization(penalty);
    return y;
  }

  /// The layer, with what torch has written to its parameters.
  [[nodiscard]] const Layer& layer() const { return bridge_->layer(); }
  /// \brief The pass of the last forward(): its routings, `summary(pass)`, what a search asks for.
  /// \throws std::invalid_argument if there was none
  [[nodiscard]] const Pass<Layer>& pass() const { return bridge_->pass(); }
  /// \brief Calls f(layer), which may change what is no parameter: anneal, relabel, search. Graphs
  /// from before can no longer go back.
  /// \throws std::invalid_argument if f has replaced a part
  template <class F>
  void change(F&& f) {
    bridge_->change(std::forward<F>(f));
  }
  /// \brief The layer, for a loop with comet's own optimizers, searches and checkpoints: what they
  /// change in it, before the next call of this module, counts, whatever the buffers hold.
  [[nodiscard]] Layer& layer_in_place() { return bridge_->layer_in_place(); }
  void end_of_step(std::span<const Index> load = {}) override { bridge_->end_of_step(load); }

  /// An independent module of the same numbers, without gradients.
  std::shared_ptr<torch::nn::Module> clone(
      const torch::optional<torch::Device>& device = {}) const override {
    if (device) check_device(*device);
    std::shared_ptr<TorchMoeLayer> copy(new TorchMoeLayer(bridge_->copy()));
    copy->take_settings(*this);
    return copy;
  }

  /// \copydoc TorchMoeImpl
  void pretty_print(std::ostream& stream) const override {
    const Layer& layer = bridge_->layer();
    stream << name() << "(" << layer.input_dim() << " -> " << layer.output_dim()
           << ", experts=" << layer.num_experts() << ", gate=" << gate_name(layer.gates().front())
           << ")";
  }

 protected:
  [[nodiscard]] torch::Dtype dtype() const override { return detail::torch_dtype<S>; }
  [[nodiscard]] bool is_used() const override { return bridge_->used(); }

 private:
  using Bridge = detail::TorchBridge<Layer>;

  explicit TorchMoeLayer(std::unique_ptr<Bridge> bridge) : bridge_(std::move(bridge)) {
    const auto& [names, tensors] = bridge_->parameters();
    for (std::size_t i = 0; i < names.size(); ++i) {
      auto [module, leaf] = place(names[i]);
      module->register_parameter(leaf, tensors[i]);
    }
    const auto& [state_names, state] = bridge_->state();
    for (std::size_t i = 0; i < state_names.size(); ++i) {
      auto [module, leaf] = place(state_names[i]);
      module->register_buffer(leaf, state[i]);
    }
  }

  /// The module that a dotted name ends in, and the last part of the name.
  std::pair<torch::nn::Module*, std::string> place(std::string name) {
    torch::nn::Module* module = this;
    for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.')) {
      const std::string part = name.substr(0, dot);
      name.erase(0, dot + 1);
      const auto children = module->named_children();
      const auto* known = children.find(part);
      module = known != nullptr
                   ? known->get()
                   : module->register_module(part, std::make_shared<torch::nn::Module>(part)).get();
    }
    return {module, name};
  }

  void take_settings(const TorchMoeLayer& other) {
    train(other.is_training());
    const auto& mine = bridge_->parameters().tensors;
    const auto& theirs = other.bridge_->parameters().tensors;
    for (std::size_t i = 0; i < mine.size(); ++i)
      mine[i].set_requires_grad(theirs[i].requires_grad());
  }

  /// What Cloneable asks of the children of what it copies.
  void clone_(torch::nn::Module& other, const torch::optional<torch::Device>& device) override {
    if (device) check_device(*device);
    auto* from = dynamic_cast<TorchMoeLayer*>(&other);
    if (from == nullptr)
      detail::raise("TorchMoe::clone", "the module to be copied into is of another layer");
    bridge_->assign(*from->bridge_);
    take_settings(*from);
    set_regularization({});
  }

  std::unique_ptr<Bridge> bridge_;
};

/// \brief Makes a torch module of a layer.
/// \throws std::invalid_argument if options.threads < 0
template <class Layer>
[[nodiscard]] TorchMoe make_torch_moe(Layer layer, const TorchMoeOptions& options = {}) {
  const std::int64_t key =
      options.key ? std::int64_t(options.key->value())
                  : at::randint(std::numeric_limits<std::int64_t>::max(), {1}, at::kLong)
                        .template item<std::int64_t>();
  return TorchMoe(std::shared_ptr<TorchMoeImpl>(
      std::make_shared<TorchMoeLayer<Layer>>(std::move(layer), key, options.threads)));
}

}  // namespace comet
