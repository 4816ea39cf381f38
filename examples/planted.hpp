// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include <comet/comet.hpp>

/// \file
/// \brief Planted problems: data made by a mixture whose experts and sparse gate are known.

namespace planted {

using comet::Index;
using S = double;
template <class T>
using Matrix = comet::Matrix<T>;

inline constexpr Index num_features = 8;
inline constexpr Index num_outputs = 4;
inline constexpr Index num_experts = 8;
inline constexpr Index num_selected = 2;
inline constexpr Index num_ids = 64;
inline constexpr Index batch_size = 64;

struct Data {
  Matrix<S> x;                    // d x B
  std::vector<std::int32_t> ids;  // for gates that look at ids
  Matrix<S> y;                    // m x B
};

/// What a gate looks at.
using Features = comet::ConstMatrixView<S>;
using Ids = std::span<const std::int32_t>;

// One type for all gates that look at the same thing: the training compiles twice, not five times.
template <class In>
using Gate = comet::AnyGate<S, In>;
template <class In>
using Layer = comet::MoeLayer<comet::PermutedGate<Gate<In>>, comet::DenseExpert<S>>;

/// Makes a gate as a training run would start with.
template <class In>
using MakeGate = Gate<In> (*)(comet::RandomKey);

template <class In>
In input(const Data& data) {
  if constexpr (std::same_as<In, Features>) {
    return data.x;
  } else {
    return data.ids;
  }
}

/// A COMET gate or a DSelect-k gate.
template <class G>
Gate<Features> smooth_gate(comet::RandomKey key) {
  return Gate<Features>(G({.input_dim = num_features,
                           .num_experts = num_experts,
                           .k = num_selected,
                           .gamma = 1.0,
                           .entropy = 0.01},
                          key));
}
inline Gate<Features> top_k_gate(comet::RandomKey key) {
  return Gate<Features>(comet::TopKGate<S>(
      {.input_dim = num_features, .num_experts = num_experts, .k = num_selected}, key));
}
inline Gate<Features> softmax_gate(comet::RandomKey key) {
  return Gate<Features>(
      comet::SoftmaxGate<S>({.input_dim = num_features, .num_experts = num_experts}, key));
}
inline Gate<Ids> hash_gate(comet::RandomKey key) {
  return Gate<Ids>(comet::HashGate<S>({.num_ids = num_ids, .num_experts = num_experts}, key));
}

/// A gate with large random parameters: most of its splits and bits are decided.
template <class In>
Gate<In> decided_gate(MakeGate<In> make_gate, comet::RandomKey key) {
  Gate<In> gate = make_gate(key);
  std::uint64_t tensor = 0;
  gate.visit_parameters([&](const comet::ParameterName&, auto& values, auto&) {
    key.fold(1).fold(tensor++).fill_uniform(values, -2.0, 2.0);
  });
  return gate;
}

inline std::vector<comet::DenseExpert<S>> random_experts(comet::RandomKey key) {
  std::vector<comet::DenseExpert<S>> experts;
  for (Index i = 0; i < num_experts; ++i)
    experts.emplace_back(comet::DenseExpertOptions{.input_dim = num_features,
                                                   .output_dim = num_outputs,
                                                   .activation = comet::Activation::identity},
                         key.fold(std::uint64_t(i)));
  return experts;
}

/// The mixture that makes the data: a decided gate whose slots are in a random order.
template <class In>
Layer<In> make_truth(MakeGate<In> make_gate, comet::RandomKey key) {
  comet::PermutedGate<Gate<In>> gate(decided_gate(make_gate, key.fold(0)));
  gate.set_permutation(comet::Permutation::random(num_experts, key.fold(1)));
  return Layer<In>({std::move(gate)}, random_experts(key.fold(2)));
}

/// The truth's experts and gate, but with the gate's slots in the order of the experts.
template <class In>
Layer<In> shuffled(const Layer<In>& truth) {
  return Layer<In>({comet::PermutedGate<Gate<In>>(truth.gates()[0].gate())}, truth.experts());
}

template <class In>
Layer<In> fresh(MakeGate<In> make_gate, comet::RandomKey key) {
  return Layer<In>({comet::PermutedGate<Gate<In>>(make_gate(key.fold(0)))},
                   random_experts(key.fold(1)));
}

template <class In>
Matrix<S> predict(const Layer<In>& layer, const Data& data) {
  typename Layer<In>::Workspace workspace;
  Matrix<S> y(num_outputs, data.x.cols());
  layer.predict(data.x, input<In>(data), y, workspace);
  return y;
}

template <class In>
Data make_data(const Layer<In>& truth, Index samples, comet::RandomKey key) {
  Data data{Matrix<S>(num_features, samples), std::vector<std::int32_t>(std::size_t(samples)), {}};
  key.fold(0).fill_uniform(data.x, -1.0, 1.0);
  for (std::size_t b = 0; b < data.ids.size(); ++b)
    data.ids[b] = std::int32_t(key.fold(1).index(b, num_ids));
  data.y = predict(truth, data);
  return data;
}

template <class In>
S loss(const Layer<In>& layer, const Data& data) {
  return (predict(layer, data) - data.y).squaredNorm() / S(data.y.size());
}

enum class Search { none, relaxed, swap };

struct Training {
  Search search = Search::none;
  Index steps = 0;
  Index search_steps = 0;  ///< of them the search takes part in the first ones
  double learning_rate = 0.01;
  bool train_experts = true;
  comet::Annealing annealing = {};  ///< of the relaxed search
  double noise = 0.0;               ///< of the relaxed search
};

/// The layer's parameters and, where the search has some, its own.
template <class In, class Strategy>
struct Model {
  using Scalar = S;

  Layer<In>& layer;
  Strategy& search;
  bool train_experts;

  template <class F>
  void visit_parameters(F&& f) {
    if (train_experts) comet::visit_parts("experts", layer.experts(), f);
    comet::visit_parts("gates", layer.gates(), f);
    if constexpr (requires { search.visit_parameters(f); }) search.visit_parameters(f);
  }
};

/// No search, behind the interface of one.
struct NoSearch {
  void prepare(auto&) {}
  void backward(auto&) {}
  void advance(auto&) {}
  [[nodiscard]] bool finished() const { return true; }
};

/// Minimises the mean squared error on random batches of the data by Adam.
template <class In, class Strategy>
void train(Layer<In>& layer, const Data& data, const Training& training, Strategy& search,
           comet::RandomKey key) {
  Model<In, Strategy> model{layer, search, training.train_experts};
  comet::Adam<S> adam({.learning_rate = training.learning_rate});
  typename Layer<In>::Workspace workspace;
  Data batch{Matrix<S>(num_features, batch_size), std::vector<std::int32_t>(batch_size),
             Matrix<S>(num_outputs, batch_size)};
  Matrix<S> y(num_outputs, batch_size), none(0, 0);
  comet::train_with_local_search(
      search, layer.gates(), training.steps,
      [&](Index step) {
        const comet::RandomKey step_key = key.fold(std::uint64_t(step));
        for (Index b = 0; b < batch_size; ++b) {
          const auto sample = Index(step_key.index(std::uint64_t(b), std::uint64_t(data.x.cols())));
          batch.x.col(b) = data.x.col(sample);
          batch.y.col(b) = data.y.col(sample);
          batch.ids[std::size_t(b)] = data.ids[std::size_t(sample)];
        }
        layer.forward(batch.x, input<In>(batch), y, step_key, workspace);
        const Matrix<S> dy = (y - batch.y) * (S(2) / S(y.size()));
        layer.backward(batch.x, input<In>(batch), dy, none, none, workspace);
      },
      [&](Index) {
        adam.step(model);
        if (!training.train_experts)
          for (auto& expert : layer.experts()) comet::zero_gradients(expert);
      });
}

/// \param held_out  samples by which a swap search judges its moves
template <class In>
void train(Layer<In>& layer, const Data& data, const Data& held_out, const Training& training,
           comet::RandomKey key) {
  if (training.search == Search::none) {
    NoSearch search;
    train(layer, data, training, search, key);
  } else if (training.search == Search::relaxed) {
    comet::PermutationSearch<S> search(
        {.steps = training.search_steps, .annealing = training.annealing, .noise = training.noise},
        layer.gates(), key.fold(1u << 20));
    train(layer, data, training, search, key);
  } else {
    const auto mean_squared_error = [&](const Matrix<S>& y) {
      return (y - held_out.y).squaredNorm() / S(y.size());
    };
    comet::SwapSearch search(
        {.steps = training.search_steps, .interval = 25, .budget = 2000},
        comet::MixtureObjective(layer.experts(), held_out.x, held_out.ids, mean_squared_error));
    train(layer, data, training, search, key);
  }
}

}  // namespace planted
