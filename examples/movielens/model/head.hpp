// SPDX-License-Identifier: MIT
#pragma once

#include <comet/core/pass.hpp>
#include <comet/core/random.hpp>
#include <comet/kernels/activation.hpp>
#include <comet/layers/dense.hpp>

#include <movielens/model/model_options.hpp>

namespace programs::movielens {

/// What a task makes of its mixture: dense ReLU -> a number.
template <class S>
struct Head {
  comet::Dense<S> hidden;
  comet::Dense<S> output;

  Head(const ModelOptions& options, comet::RandomKey key)
      : hidden({.input_dim = options.expert_dim,
                .output_dim = options.head_dim,
                .activation = comet::Activation::relu},
               key.fold(0)),
        output({.input_dim = options.head_dim, .output_dim = 1}, key.fold(1)) {}

  template <class F>
  void visit(F&& f) const {
    f("hidden", hidden);
    f("output", output);
  }
};

template <class S>
struct HeadPass {
  comet::Pass<comet::Dense<S>> hidden, output;
};

/// \brief What a model has above its embeddings. Nothing of it is owned.
template <class Mixture, class Heads>
struct MixtureAndHeads {
  using Scalar = typename Mixture::Scalar;
  const Mixture& mixture;
  const Heads& heads;

  template <class F>
  void visit(F&& f) const {
    mixture.visit(f);
    f("heads", heads);
  }
};

template <class Mixture, class Heads>
MixtureAndHeads(const Mixture&, const Heads&) -> MixtureAndHeads<Mixture, Heads>;

}  // namespace programs::movielens
