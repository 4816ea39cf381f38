// SPDX-License-Identifier: MIT
#pragma once

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <comet/adapters/detail/torch_run.hpp>
#include <comet/adapters/detail/torch_samples.hpp>
#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/gates/capabilities.hpp>

namespace comet::detail {

/// Tensors with comet's names.
struct TorchTensors {
  std::vector<std::string> names;
  std::vector<at::Tensor> tensors;
};

/// A layer and the tensors that torch sees of it.
///
/// Parameters are tensors over the layer's memory: what torch does in place is done to the layer.
/// State of the parts that is no parameter is small and may move, so its tensors are copies,
/// compared before each call. A tensor that torch has pointed to other memory (loading does that)
/// has its numbers taken over, and points to the layer again.
template <class Layer>
class TorchBridge {
 public:
  using S = typename Layer::Scalar;
  using Shared = std::shared_ptr<TorchShared<Layer>>;

  TorchBridge(Layer layer, std::int64_t key, Index threads)
      : TorchBridge(std::make_shared<TorchShared<Layer>>(TorchShared<Layer>{
            std::move(layer), {key, 0}, std::make_unique<ThreadPool>(threads)})) {}

  TorchBridge(const TorchBridge&) = delete;
  TorchBridge& operator=(const TorchBridge&) = delete;
  ~TorchBridge() = default;

  /// The same numbers in memory of their own, random ones included.
  [[nodiscard]] std::unique_ptr<TorchBridge> copy() {
    take_over();
    return std::unique_ptr<TorchBridge>(new TorchBridge(copy_of_shared()));
  }
  /// Becomes a copy of another one; the tensors stay the same objects.
  void assign(TorchBridge& other) {
    other.take_over();
    if (!same_tensors(other.parameters_, parameters_) || !same_tensors(other.state_, state_))
      raise("TorchMoe::clone", "the module to be copied into is of another layer");
    shared_ = other.copy_of_shared();
    last_.reset();
    last_run_.reset();
    point_parameters();
    state_.tensors.back().set_data(random_tensor());
    show_state();
  }

  [[nodiscard]] const TorchTensors& parameters() const { return parameters_; }
  /// Has gradients go to other tensors over the same memory.
  void replace_parameters(std::vector<at::Tensor> tensors) {
    check_equal("TorchMoe", "number of parameters", Index(tensors.size()), "those of the layer",
                Index(parameters_.tensors.size()));
    parameters_.tensors = std::move(tensors);
  }
  [[nodiscard]] const TorchTensors& state() const { return state_; }
  [[nodiscard]] const Layer& layer() {
    take_over();
    return shared_->layer;
  }
  /// The layer, which may be changed until the next call of this bridge.
  [[nodiscard]] Layer& layer_in_place() {
    take_over();
    changed_in_place_ = true;
    ++shared_->revision;  // graphs of before do not fit what it becomes
    return shared_->layer;
  }
  /// That of the last run.
  [[nodiscard]] const Pass<Layer>& pass() const {
    if (!last_) raise("TorchMoe::pass", "there was no forward() yet");
    return *last_;
  }

  /// Whether the graph of the last run has been gone back along.
  [[nodiscard]] bool used() const { return last_run_ && last_run_->used(); }

  /// y and the penalties, in the graph if somebody wants gradients.
  std::array<at::Tensor, 2> run(const at::Tensor& x, const at::Tensor& ids, const at::Tensor& mask,
                                bool training) {
    take_over();
    const at::TensorList parameters = parameters_.tensors;
    last_.reset();  // comes into use again if no graph holds it
    last_run_.reset();
    TorchSamples<S> samples("TorchMoe::forward", detached(x), ids, mask,
                            shared_->layer.input_dim());
    const auto run = c10::make_intrusive<TorchRun<Layer>>(shared_, std::move(samples), training);
    std::array<at::Tensor, 2> result;
    const auto trains = [](const at::Tensor& tensor) { return tensor.requires_grad(); };
    if (at::GradMode::is_enabled() && (trains(x) || std::ranges::any_of(parameters, trains))) {
      const auto outputs = TorchFunction<Layer>::apply(x, parameters, run);
      result = {outputs[0], outputs[1]};
    } else {
      result = run->forward();
    }
    last_ = run->pass();
    last_trains_ = training;
    last_run_ = run;
    return result;
  }

  /// Changes what is no parameter: f(layer).
  template <class F>
  void change(F&& f) {
    take_over();
    ++shared_->revision;
    try {
      f(shared_->layer);
    } catch (...) {
      show_state();
      throw;
    }
    show_state();
    if (!std::ranges::equal(addresses(), pointed_to_)) {
      point_parameters();
      raise("TorchMoe::change",
            "the parts of the layer were replaced, and tensors made from them are over memory that "
            "is gone; make a module of the new layer instead");
    }
  }

  /// Tells the gates the load of the last run, or the one given: n numbers for each task.
  void end_of_step(std::span<const Index> given) {
    constexpr const char* where = "TorchMoe::end_of_step";
    if (!last_ || !last_trains_) raise(where, "there was no forward() in train() before it");
    change([&](Layer& layer) {
      const Index n = layer.num_experts();
      if (!given.empty())
        check_equal(where, "load.size()", Index(given.size()), "num_tasks * num_experts",
                    layer.num_tasks() * n);
      for (Index t = 0; t < layer.num_tasks(); ++t) {
        std::vector<Index> load(std::size_t(n), 0);
        if (given.empty()) {
          for (const auto expert : last_->workspace.routing(t).experts())
            ++load[std::size_t(expert)];
        } else {
          std::ranges::copy(given.subspan(std::size_t(t * n), std::size_t(n)), load.begin());
        }
        tell(layer.gates()[std::size_t(t)], load, last_->workspace.gates()[std::size_t(t)]);
      }
    });
  }

 private:
  explicit TorchBridge(Shared shared) : shared_(std::move(shared)) {
    const c10::InferenceMode off(false);  // the tensors are to be trained
    for_each_parameter(shared_->layer, [&](const ParameterName& name, auto& parameter) {
      parameters_.names.push_back(name.str());
      parameters_.tensors.push_back(tensor_over(parameter.data(), parameter.shape(), shared_));
    });
    pointed_to_ = addresses();
    visit_state([&]<class T>(std::string name, std::span<T> values) {
      state_.names.push_back(std::move(name));
      state_.tensors.push_back(
          at::empty({std::int64_t(values.size())}, at::TensorOptions(torch_dtype<T>)));
    });
    state_.names.push_back("random");
    state_.tensors.push_back(random_tensor());
    show_state();
  }

  [[nodiscard]] at::Tensor random_tensor() const {
    return tensor_over(shared_->random.data(), {std::int64_t(shared_->random.size())}, shared_);
  }

  [[nodiscard]] Shared copy_of_shared() const {
    return std::make_shared<TorchShared<Layer>>(
        TorchShared<Layer>{shared_->layer, shared_->random,
                           std::make_unique<ThreadPool>(shared_->threads->num_threads())});
  }

  static at::Tensor detached(const at::Tensor& x) { return x.defined() ? x.detach() : x; }
  static bool same_tensors(const TorchTensors& a, const TorchTensors& b) {
    return a.names == b.names && std::ranges::equal(a.tensors, b.tensors, [](auto& s, auto& t) {
             return s.sizes() == t.sizes();
           });
  }

  template <class Gate>
  static void tell(Gate& gate, std::span<const Index> load, const Pass<Gate>& pass) {
    if constexpr (LoadedGate<Gate>)
      if (capabilities(gate).loads) return comet::end_of_step(gate, load, pass);
    raise("TorchMoe::end_of_step", a_gate(gate_name(gate)) + " has no use for the load of a step");
  }

  [[nodiscard]] std::vector<const S*> addresses() const {
    std::vector<const S*> result;
    for_each_parameter(std::as_const(shared_->layer),
                       [&](const ParameterName&, const auto& p) { result.push_back(p.data()); });
    return result;
  }

  void point_parameters() {
    pointed_to_ = addresses();
    std::size_t i = 0;
    for_each_parameter(shared_->layer, [&](const ParameterName&, auto& parameter) {
      if (i < parameters_.tensors.size())
        parameters_.tensors[i++].set_data(
            tensor_over(parameter.data(), parameter.shape(), shared_));
    });
  }

  /// Calls f(name, span) for each piece of the parts' state.
  template <class F>
  void visit_state(F&& f) {
    const auto of_parts = [&](const char* name, auto& parts) {
      Index number = 0;
      for (auto& part : parts) {
        if constexpr (has_state<std::remove_cvref_t<decltype(part)>>())
          part.visit_state([&](const ParameterName& rest, auto values) {
            f(ParameterName(name, number, rest).str(), values);
          });
        ++number;
      }
    };
    of_parts("experts", shared_->layer.experts());
    of_parts("gates", shared_->layer.gates());
  }

  void restored() {
    const auto of_parts = [](auto& parts) {
      for (auto& part : parts)
        if constexpr (has_state<std::remove_cvref_t<decltype(part)>>()) part.restored();
    };
    of_parts(shared_->layer.experts());
    of_parts(shared_->layer.gates());
    ++shared_->revision;
  }

  /// Writes the layer's state to its tensors.
  void show_state() {
    std::size_t i = 0;
    visit_state([&]<class T>(const std::string&, std::span<T> values) {
      const at::Tensor& tensor = state_.tensors[i++];
      if (std::size_t(tensor.numel()) != values.size())
        raise("TorchMoe::change", "the state of the layer has changed its size");
      std::ranges::copy(values, tensor.data_ptr<T>());
    });
  }

  template <class T>
  static void check_written(const std::string& name, const at::Tensor& tensor,
                            at::IntArrayRef sizes) {
    constexpr const char* where = "TorchMoe";
    check_torch_memory(where, name, tensor);
    if (tensor.scalar_type() != torch_dtype<T> || tensor.sizes() != sizes)
      raise(where, name + " has become " + torch_text(tensor.scalar_type()) +
                       torch_text(tensor.sizes()) + ", expected " + torch_text(torch_dtype<T>) +
                       torch_text(sizes));
  }
  /// Whether a tensor has been pointed elsewhere, or at its numbers in another order, and has given
  /// them.
  template <class T>
  bool taken(const std::string& name, const at::Tensor& tensor, T* values, at::IntArrayRef sizes) {
    if (tensor.defined() && tensor.unsafeGetTensorImpl()->data() == values &&
        tensor.sizes() == sizes && tensor.is_contiguous())
      return false;
    check_written<T>(name, tensor, sizes);
    std::copy_n(tensor.contiguous().template data_ptr<T>(), tensor.numel(), values);
    tensor.set_data(tensor_over(values, sizes, shared_));
    return true;
  }

  /// Takes over what was written to the tensors, or put in their place; or, after a change in
  /// place, shows the tensors what the layer has.
  void take_over();
  void show_change_in_place() {
    changed_in_place_ = false;
    ++shared_->revision;
    show_state();
    if (!std::ranges::equal(addresses(), pointed_to_)) point_parameters();
  }

  Shared shared_;
  bool changed_in_place_ = false;
  TorchTensors parameters_;
  std::vector<const S*> pointed_to_;
  TorchTensors state_;
  std::shared_ptr<Pass<Layer>> last_ = {};
  bool last_trains_ = false;
  c10::intrusive_ptr<TorchRun<Layer>> last_run_ = {};
};

template <class Layer>
void TorchBridge<Layer>::take_over() {
  const at::NoGradGuard off;
  if (changed_in_place_) return show_change_in_place();
  std::size_t i = 0;
  for_each_parameter(shared_->layer, [&](const ParameterName&, auto& parameter) {
    if (taken(parameters_.names[i], parameters_.tensors[i], parameter.data(), parameter.shape()))
      ++shared_->revision;
    ++i;
  });
  taken("random", state_.tensors.back(), shared_->random.data(),
        {std::int64_t(shared_->random.size())});

  bool written = false;
  std::vector<std::vector<char>> before;
  i = 0;
  visit_state([&]<class T>(const std::string& name, std::span<T> values) {
    const at::Tensor& tensor = state_.tensors[i++];
    check_written<T>(name, tensor, {std::int64_t(values.size())});
    const at::Tensor given = tensor.contiguous();
    const T* source = given.template data_ptr<T>();
    const auto bytes = std::as_bytes(values);
    before.emplace_back(bytes.size());
    if (bytes.empty()) return;
    std::memcpy(before.back().data(), bytes.data(), bytes.size());
    written = written || std::memcmp(source, bytes.data(), bytes.size()) != 0;
    std::copy_n(source, values.size(), values.data());
  });
  if (!written) return;
  try {
    restored();
  } catch (...) {  // the layer stays as it was, the tensors keep what cannot be taken
    i = 0;
    visit_state([&]<class T>(const std::string&, std::span<T> values) {
      const auto& bytes = before[i++];
      if (!bytes.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    });
    restored();
    throw;
  }
  show_state();
}

}  // namespace comet::detail
