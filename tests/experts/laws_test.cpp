// SPDX-License-Identifier: MIT
#include <comet/experts/chain.hpp>
#include <comet/experts/constant.hpp>
#include <comet/experts/dense.hpp>
#include <comet/experts/gated_mlp.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/layers/convolution_2d.hpp>
#include <comet/layers/dense.hpp>
#include <comet/layers/max_pool_2d.hpp>

#include <support/catch.hpp>
#include <support/expert_laws.hpp>

using namespace comet;
using comet::test::check_expert_laws;

namespace {
const RandomKey key(5);
}

TEST_CASE("experts and layers as experts keep the laws of experts") {
  for (const auto activation : {Activation::identity, Activation::gelu}) {
    CAPTURE(int(activation));
    check_expert_laws(
        DenseExpert<double>({.input_dim = 5, .output_dim = 3, .activation = activation}, key));
    check_expert_laws(
        Dense<double>({.input_dim = 5, .output_dim = 3, .activation = activation}, key));
  }
  check_expert_laws(MlpExpert<double>({.input_dim = 5, .hidden_dim = 9, .output_dim = 3}, key));
  check_expert_laws(ZeroExpert<double>({.input_dim = 5, .output_dim = 3}));
  check_expert_laws(CopyExpert<double>({.input_dim = 5, .output_dim = 5}));
  const Convolution2dOptions convolution = {5, 4, 2, 3, 2, 2, 1, Padding::valid, Activation::silu};
  const MaxPool2dOptions pool = {.height = 4, .width = 3, .channels = 3, .stride = 1};
  check_expert_laws(Convolution2d<double>(convolution, key));
  check_expert_laws(MaxPool2d<double>(pool, key));
  check_expert_laws(Chain(Convolution2d<double>(convolution, key), MaxPool2d<double>(pool, key),
                          Dense<double>({.input_dim = 18, .output_dim = 3}, key)));
}

TEMPLATE_TEST_CASE("frozen experts keep those of prediction", "", COMET_TEST_SCALARS) {
  using S = TestType;
  const DenseExpert<S> dense({.input_dim = 43, .output_dim = 6}, key);
  const MlpExpert<S> mlp({.input_dim = 43, .hidden_dim = 19, .output_dim = 6}, key);
  const GatedMlpExpert<S> gated({.input_dim = 43, .hidden_dim = 19, .output_dim = 6}, key);
  test::check_prediction_laws(dense);
  test::check_prediction_laws(mlp);
  for (const Storage storage : {Storage::full, Storage::bf16, Storage::int8}) {
    test::check_prediction_laws(dense.freeze(storage));
    test::check_prediction_laws(mlp.freeze(storage));
    test::check_prediction_laws(gated.freeze(storage));
  }
}
