// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
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

  [[nodiscard]] comet::Samples<S> samples() const { return {x, ids}; }
};

// One type for all gates: the training compiles once, not five times.
using Gate = comet::AnyGate<S>;
using Layer = comet::MoeLayer<comet::PermutedGate<Gate>, comet::DenseExpert<S>>;

/// Makes a gate as a training run would start with.
using MakeGate = Gate (*)(comet::RandomKey);

/// A COMET gate or a DSelect-k gate.
template <class G>
Gate smooth_gate(comet::RandomKey key) {
  return Gate(G({.input_dim = num_features,
                 .num_experts = num_experts,
                 .k = num_selected,
                 .gamma = 1.0,
                 .entropy = 0.01},
                key));
}
inline Gate top_k_gate(comet::RandomKey key) {
  return Gate(comet::TopKGate<S>(
      {.input_dim = num_features, .num_experts = num_experts, .k = num_selected}, key));
}
inline Gate softmax_gate(comet::RandomKey key) {
  return Gate(comet::SoftmaxGate<S>({.input_dim = num_features, .num_experts = num_experts}, key));
}
inline Gate hash_gate(comet::RandomKey key) {
  return Gate(comet::HashGate<S>({.num_experts = num_experts, .num_ids = num_ids}, key));
}

/// A gate with large random parameters: most of its splits and bits are decided.
inline Gate decided_gate(MakeGate make_gate, comet::RandomKey key) {
  Gate gate = make_gate(key);
  std::uint64_t tensor = 0;
  comet::for_each_parameter(gate, [&](const comet::ParameterName&, auto& values) {
    key.fold(1).fold(tensor++).fill_uniform(values, -2.0, 2.0);
  });
  return gate;
}

inline std::vector<comet::DenseExpert<S>> random_experts(comet::RandomKey key) {
  return comet::make_experts<comet::DenseExpert<S>>(num_experts,
                                                    {.input_dim = num_features,
                                                     .output_dim = num_outputs,
                                                     .activation = comet::Activation::identity},
                                                    key);
}

/// The mixture that makes the data: a decided gate whose slots are in a random order.
inline Layer make_truth(MakeGate make_gate, comet::RandomKey key) {
  comet::PermutedGate gate(decided_gate(make_gate, key.fold(0)));
  gate.set_permutation(comet::Permutation::random(num_experts, key.fold(1)));
  return {{std::move(gate)}, random_experts(key.fold(2))};
}

/// The truth's experts and gate, but with the gate's slots in the order of the experts.
inline Layer shuffled(const Layer& truth) {
  return {{comet::PermutedGate(truth.gates()[0].gate())}, truth.experts()};
}

inline Layer fresh(MakeGate make_gate, comet::RandomKey key) {
  return {{comet::PermutedGate(make_gate(key.fold(0)))}, random_experts(key.fold(1))};
}

inline Matrix<S> predict(const Layer& layer, const Data& data) {
  comet::Pass pass(layer);
  Matrix<S> y(num_outputs, data.x.cols());
  layer.predict(data.samples(), y, pass);
  return y;
}

inline Data make_data(const Layer& truth, Index samples, comet::RandomKey key) {
  Data data{Matrix<S>(num_features, samples), std::vector<std::int32_t>(std::size_t(samples)), {}};
  key.fold(0).fill_uniform(data.x, -1.0, 1.0);
  for (std::size_t b = 0; b < data.ids.size(); ++b)
    data.ids[b] = std::int32_t(key.fold(1).index(b, num_ids));
  data.y = predict(truth, data);
  return data;
}

inline S loss(const Layer& layer, const Data& data) {
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

/// The layer, or its gates alone, and the search.
template <class Strategy>
struct Model {
  using Scalar = S;

  Layer& layer;
  Strategy& search;
  bool with_experts = true;

  template <class F>
  void visit(F&& f) const {
    if (with_experts) f("experts", layer.experts());
    f("gates", layer.gates());
    f("search", search);
  }
};

/// Minimises the mean squared error on random batches of the data by Adam.
template <class Strategy>
void train(Layer& layer, const Data& data, const Training& training, Strategy& search,
           comet::RandomKey key) {
  const Model<Strategy> whole{layer, search};
  Model<Strategy> trained{layer, search, training.train_experts};
  comet::Gradients gradients(whole);
  const Index first = training.train_experts ? 0 : comet::count_tensors(layer.experts());
  const auto of_trained = gradients.view().middle(first, gradients.size() - first);
  auto of_search = gradients.view();
  comet::Pass pass(layer, of_search.next(layer));
  comet::Adam adam(trained, {.learning_rate = training.learning_rate});
  Data batch{Matrix<S>(num_features, batch_size), std::vector<std::int32_t>(batch_size),
             Matrix<S>(num_outputs, batch_size)};
  Matrix<S> y(num_outputs, batch_size), dy(num_outputs, batch_size);
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
        layer.forward(batch.samples(), y, step_key, pass);
        dy = (y - batch.y) * (S(2) / S(y.size()));
        layer.backward(batch.samples(), dy, comet::no_gradient, pass);
        search.backward(layer.gates(), pass.workspace.gates(), of_search);
      },
      [&](Index) {
        adam.step(trained, of_trained);
        gradients.set_zero();  // those of experts that stay as they are
      });
}

/// \param held_out  samples by which a swap search judges its moves
inline void train(Layer& layer, const Data& data, const Data& held_out, const Training& training,
                  comet::RandomKey key) {
  if (training.search == Search::none) {
    comet::NoSearch search;
    train(layer, data, training, search, key);
  } else if (training.search == Search::relaxed) {
    comet::PermutationSearch search(
        {.steps = training.search_steps, .annealing = training.annealing, .noise = training.noise},
        layer.gates(), key.fold(1u << 20));
    train(layer, data, training, search, key);
  } else {
    const auto mean_squared_error = [&](const Matrix<S>& y) {
      return (y - held_out.y).squaredNorm() / S(y.size());
    };
    comet::SwapSearch search(
        {.steps = training.search_steps, .interval = 25, .budget = 2000},
        comet::MixtureObjective(layer.experts(), held_out.samples(), mean_squared_error));
    train(layer, data, training, search, key);
  }
}

}  // namespace planted
