// SPDX-License-Identifier: MIT
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/adapters/detail/reused.hpp>
#include <comet/adapters/detail/torch_samples.hpp>
#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>

namespace comet::detail {

/// What a module, the tensors over its memory and the graphs of its forward passes share: it lives
/// as long as one of them.
template <class Layer>
struct TorchShared {
  using S = typename Layer::Scalar;

  Layer layer;
  std::array<std::int64_t, 2> random;  // the key, and how many forward passes have drawn from it
  std::unique_ptr<ThreadPool> threads;
  std::uint64_t revision = 0;  // counts changes that tensors know nothing of
  Reused<Pass<Layer>> passes = {};
  Reused<Gradients<S>> gradients = {};

  [[nodiscard]] RandomKey next_key() {
    return RandomKey(std::uint64_t(random[0])).fold(random[1]++);
  }
};

/// A tensor over memory that somebody else frees, not before the tensor.
template <class T>
at::Tensor tensor_over(T* values, at::IntArrayRef sizes, std::shared_ptr<void> owner) {
  return at::from_blob(
      values, sizes, [owner = std::move(owner)](void*) {}, at::TensorOptions(torch_dtype<T>));
}

/// One forward pass of a layer, with what its backward passes need.
///
/// The first backward pass uses the comet::Pass up. Another one, of a graph that was retained, runs
/// the layer forward again: the key makes it the same to the bit.
template <class Layer>
class TorchRun final : public torch::CustomClassHolder {
 public:
  using S = typename Layer::Scalar;
  using Gate = std::remove_cvref_t<decltype(std::declval<Layer>().gates().front())>;
  using Shared = std::shared_ptr<TorchShared<Layer>>;

  TorchRun(Shared shared, TorchSamples<S> samples, bool training)
      : samples_(std::move(samples)),
        shared_(std::move(shared)),
        training_(training),
        key_(training ? shared_->next_key() : RandomKey(0)),
        revision_(shared_->revision) {}

  /// y and the penalties of the gates.
  std::array<at::Tensor, 2> forward() {
    const Layer& layer = shared_->layer;
    std::vector<std::int64_t> sizes = samples_.x.sizes().vec();
    sizes.back() = layer.output_dim();
    if (layer.num_tasks() > 1) sizes.insert(sizes.begin(), layer.num_tasks());
    at::Tensor y = at::empty(sizes, at::TensorOptions(torch_dtype<S>));
    pass_ = new_pass();
    const S penalty = run_layer(samples_, y, *pass_);
    return {y, at::full({}, double(penalty), at::TensorOptions(torch_dtype<S>))};
  }

  /// The features, which the graph keeps: it knows whether they are changed.
  [[nodiscard]] at::Tensor take_features() { return std::exchange(samples_.x, at::Tensor()); }

  /// The pass of the forward pass, until a backward pass has used it.
  [[nodiscard]] const std::shared_ptr<Pass<Layer>>& pass() const { return pass_; }

  /// Whether a backward pass has come.
  [[nodiscard]] bool used() const { return used_; }

  /// Gradients by x, unless it is not wanted, and by each parameter.
  /// \param dy  undefined for zeros \param weight  of the penalties
  std::vector<at::Tensor> backward(const at::Tensor& x, const at::Tensor& dy, S weight,
                                   bool wants_dx);

 private:
  static constexpr const char* where = "TorchMoe::backward";

  [[nodiscard]] std::shared_ptr<Pass<Layer>> new_pass() const {
    return shared_->passes.take(
        [&] { return Pass<Layer>(shared_->layer, shared_->threads.get()); });
  }

  S run_layer(const TorchSamples<S>& samples, const at::Tensor& y, Pass<Layer>& pass) const {
    const Layer& layer = shared_->layer;
    auto columns = torch_columns<S>(y, layer.output_dim(), layer.num_tasks() * samples.size());
    if (!training_) {
      layer.predict(samples.view(), columns, pass);
      return S(0);
    }
    layer.forward(samples.view(), columns, key_, pass);
    return layer.regularization(pass);
  }

  /// Copies of the gates' passes, as they are before the layer's backward pass, if the penalties
  /// have to be weighed.
  [[nodiscard]] std::vector<Pass<Gate>> passes_of_penalties(S scale,
                                                            const Pass<Layer>& pass) const {
    if constexpr (TrainableGate<Gate>) {
      const auto gates = pass.workspace.gates();
      bool any = false;
      for (std::size_t t = 0; t < gates.size(); ++t)
        any = any || shared_->layer.gates()[t].regularization(gates[t]) != S(0);
      if (scale != S(0) && any) return {gates.begin(), gates.end()};
    }
    return {};
  }

  void add_penalties(S scale, const Samples<S>& samples, const Pass<Layer>& pass,
                     std::vector<Pass<Gate>>& gates, GradientView<S> gradients,
                     MatrixView<S> dx) const;

  TorchSamples<S> samples_;
  Shared shared_;
  bool training_;
  RandomKey key_;
  std::uint64_t revision_;
  std::shared_ptr<Pass<Layer>> pass_ = {};
  std::atomic<bool> used_ = false;
};

template <class Layer>
std::vector<at::Tensor> TorchRun<Layer>::backward(const at::Tensor& x, const at::Tensor& dy,
                                                  S weight, bool wants_dx) {
  used_ = true;
  const Layer& layer = shared_->layer;
  if (!training_)
    raise(where,
          "this output is of a forward() in eval(), which keeps nothing to go back by; call "
          "train() first, or no_grad where no gradient is wanted");
  if (shared_->revision != revision_) raise(where, "the layer has been changed since forward()");
  TorchSamples<S> batch = samples_;
  batch.x = x;
  const Samples<S> samples = batch.view();
  const Index columns = layer.num_tasks() * samples.size();
  auto pass = std::exchange(pass_, nullptr);
  if (!pass) {
    pass = new_pass();
    run_layer(batch, at::empty({columns, layer.output_dim()}, at::TensorOptions(torch_dtype<S>)),
              *pass);
  }

  const auto gradients = shared_->gradients.take([&] { return Gradients<S>(layer); });
  gradients->set_zero();
  at::Tensor dx = wants_dx ? at::zeros(x.sizes(), at::TensorOptions(torch_dtype<S>)) : at::Tensor();
  auto dx_map = wants_dx ? torch_columns<S>(dx, samples.dim(), samples.size())
                         : Eigen::Map<Matrix<S>>(nullptr, 0, 0);

  // The layer's backward pass includes the penalties, once; what that is too much or too little is
  // worked out by the gates alone.
  const S rest = dy.defined() ? weight - S(1) : weight;
  auto gates = passes_of_penalties(rest, *pass);
  if (dy.defined()) {
    const at::Tensor in_order = in_c_order(dy);
    pass->borrow(gradients->view());
    layer.backward(samples, torch_columns<S>(in_order, layer.output_dim(), columns), dx_map, *pass);
  }
  if (!gates.empty()) add_penalties(rest, samples, *pass, gates, gradients->view(), dx_map);

  std::vector<at::Tensor> result = {std::move(dx)};
  const Index experts = count_tensors(layer.experts());
  Index i = 0;
  for_each_parameter(layer, [&](const ParameterName&, const auto& parameter) {
    const bool asked = dy.defined() || i >= experts;  // penalties are of the gates
    result.push_back(asked ? tensor_over((*gradients)[i].data(), parameter.shape(), gradients)
                           : at::Tensor());
    ++i;
  });
  return result;
}

template <class Layer>
void TorchRun<Layer>::add_penalties(S scale, const Samples<S>& samples, const Pass<Layer>& pass,
                                    std::vector<Pass<Gate>>& gates, GradientView<S> gradients,
                                    MatrixView<S> dx) const {
  if constexpr (TrainableGate<Gate>) {
    const Layer& layer = shared_->layer;
    static_cast<void>(gradients.next(layer.experts()));
    for (std::size_t t = 0; t < gates.size(); ++t) {
      const Gate& gate = layer.gates()[t];
      const auto& routing = pass.workspace.routing(Index(t));
      Gradients<S> penalty(gate);
      Matrix<S> penalty_dx = Matrix<S>::Zero(dx.rows(), dx.cols());
      const AlignedVector<S> zeros(std::size_t(routing.num_entries()), S(0));
      gates[t].borrow(penalty.view());
      gate.backward(samples, routing, std::span<const S>(zeros), penalty_dx, gates[t]);
      const GradientView<S> own = gradients.next(gate);
      for (Index i = 0; i < own.size(); ++i) own[i] += scale * penalty[i];
      dx += scale * penalty_dx;
    }
  }
}

/// The node of the graph. Inputs: x and every parameter; outputs: y and the penalties.
template <class Layer>
struct TorchFunction : torch::autograd::Function<TorchFunction<Layer>> {
  using S = typename Layer::Scalar;
  using Run = c10::intrusive_ptr<TorchRun<Layer>>;
  using Context = torch::autograd::AutogradContext;
  using Tensors = torch::autograd::variable_list;

  static Tensors forward(Context* context, const at::Tensor& /*x*/, at::TensorList parameters,
                         const Run& run) {
    auto [y, penalty] = run->forward();
    // Saved, so that torch refuses a backward pass after one of them was changed in place.
    Tensors saved = {run->take_features()};
    saved.insert(saved.end(), parameters.begin(), parameters.end());
    context->save_for_backward(std::move(saved));
    context->set_materialize_grads(false);  // what nobody asks for is not worked out
    context->saved_data["run"] =
        at::IValue::make_capsule(c10::intrusive_ptr<torch::CustomClassHolder>(run));
    return {y, penalty};
  }

  static Tensors backward(Context* context, Tensors given) {
    const Tensors saved = context->get_saved_variables();
    const std::size_t inputs = saved.size() + 1;  // the run is one, too
    if (at::GradMode::is_enabled())
      raise("TorchMoe::backward", "there are no second derivatives (create_graph)");
    if (!given[0].defined() && !given[1].defined()) return Tensors(inputs);
    const auto capsule = context->saved_data["run"].toCapsule();
    auto& run = static_cast<TorchRun<Layer>&>(*capsule);
    const S weight = given[1].defined() ? given[1].template item<S>() : S(0);
    Tensors result = run.backward(saved[0], given[0], weight, context->needs_input_grad(0));
    for (std::size_t i = 1; i < result.size(); ++i)
      if (!context->needs_input_grad(i)) result[i] = at::Tensor();
    result.resize(inputs);
    return result;
  }
};

}  // namespace comet::detail
