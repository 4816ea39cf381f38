// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <limits>
#include <string>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/experts/dense.hpp>
#include <comet/experts/gated_mlp.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/moe_layer.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::parameter;
using comet::test::random_matrix;

static_assert(PredictingExpert<FrozenExpert<float>> && !TrainableExpert<FrozenExpert<float>>);
static_assert(FreezableExpert<DenseExpert<float>> && FreezableExpert<MlpExpert<double>> &&
              FreezableExpert<GatedMlpExpert<float>>);

namespace {

constexpr Index n = 5, d = 43, m = 19, samples = 60;
const RandomKey key(1);

template <class E>
auto make_layer(const typename E::Options& options) {
  using S = typename E::Scalar;
  auto layer = MoeLayer(TopKGate<S>({.input_dim = d, .num_experts = n, .k = 2}, key.fold(0)),
                        make_experts<E>(n, options, key.fold(1)));
  for (Index i = 0; i < n; ++i)  // biases that are not 0
    for_each_parameter(layer.experts()[std::size_t(i)], [&](const ParameterName&, auto& values) {
      if (values.cols() == 1) key.fold(2).fold(i).fill_uniform(values, -1, 1);
    });
  return layer;
}

template <class Layer, class S = typename Layer::Scalar>
Matrix<S> predicted(const Layer& layer, const Matrix<S>& x, ThreadPool* pool = nullptr) {
  Matrix<S> y(layer.output_dim(), x.cols());
  Pass pass(layer, pool);
  layer.predict(x, y, pass);
  return y;
}

/// Full storage is the layer itself; less is near it, and keeps its laws.
template <class E>
void check_frozen(const typename E::Options& options) {
  using S = typename E::Scalar;
  const auto layer = make_layer<E>(options);
  const Matrix<S> x = random_matrix<S>(d, samples, 4);
  const Matrix<S> y = predicted(layer, x);
  CHECK(predicted(layer.freeze(), x) == y);
  const S largest = y.cwiseAbs().maxCoeff();
  const S half = (predicted(layer.freeze(Storage::bf16), x) - y).cwiseAbs().maxCoeff() / largest;
  const S eighth = (predicted(layer.freeze(Storage::int8), x) - y).cwiseAbs().maxCoeff() / largest;
  CHECK((half > S(1e-5) && half < S(0.01)));
  CHECK((eighth > S(1e-5) && eighth < S(0.02)));
  ThreadPool pool(3);
  for (const Storage storage : {Storage::full, Storage::bf16, Storage::int8}) {
    const auto frozen = layer.freeze(storage);
    CHECK(frozen.experts()[0].storage() == storage);
    CHECK(frozen.experts()[0].cost() == layer.experts()[0].cost());
    const Matrix<S> all = predicted(frozen, x);
    CHECK(predicted(frozen, x, &pool) == all);
    Matrix<S> alone(m, 1);
    Pass pass(frozen);
    frozen.predict(x.col(0), alone, pass);
    bool same = true;
    const long before = test::allocations;
    for (Index b = 0; b < samples; ++b) {
      frozen.predict(x.col(b), alone, pass);
      same = same && alone == all.col(b);
    }
    CHECK(same);
    CHECK((!test::can_count_allocations || test::allocations == before));
  }
}

}  // namespace

TEMPLATE_TEST_CASE("a frozen layer predicts as the layer does", "", COMET_TEST_SCALARS) {
  using S = TestType;
  check_frozen<DenseExpert<S>>({.input_dim = d, .output_dim = m, .dropout = 0.5});
  check_frozen<DenseExpert<S>>({.input_dim = d, .output_dim = m, .activation = Activation::gelu});
  check_frozen<MlpExpert<S>>({.input_dim = d, .hidden_dim = 29, .output_dim = m});
  check_frozen<MlpExpert<S>>(
      {.input_dim = d, .hidden_dim = 8, .output_dim = m, .activation = Activation::silu});
  check_frozen<GatedMlpExpert<S>>({.input_dim = d, .hidden_dim = 29, .output_dim = m});
}

TEST_CASE("a map may have a factor, at the end too") {
  const GatedMlpExpert<double> expert({.input_dim = 3, .hidden_dim = 4, .output_dim = 2}, key);
  const auto frozen = expert.freeze();
  std::vector<std::string> names;
  frozen.visit([&](const ParameterName& name, const auto&) { names.push_back(name.str()); });
  CHECK(names == std::vector<std::string>{"hidden.weight", "hidden.bias", "factor.weight",
                                          "factor.bias", "output.weight", "output.bias"});
  const auto part = frozen.parts()[0];
  const FrozenExpert<double> last({part});
  REQUIRE(last.cache_dim() == 4);
  const Matrix<double> x = random_matrix<double>(3, 5, 1);
  Matrix<double> y(4, 5), left(4, 5), right(4, 5), cache(4, 5);
  last.predict(x, y, cache);
  part.affine.predict(x, left);
  part.factor->affine.predict(x, right);
  CHECK(y == left.cwiseProduct(right));

  auto other = frozen.parts()[1];
  other.factor = FrozenExpert<double>::Map{part.name, part.affine};
  CHECK_THROWS_WITH(
      FrozenExpert<double>({part, other}),
      "comet::FrozenExpert: factor.input_dim() is 3, expected input_dim() of its part = 4");
}

TEST_CASE("eight bits: a scale for each output, of which no weight is cut off") {
  DenseExpert<double> expert({.input_dim = 3, .output_dim = 3, .activation = Activation::identity},
                             key);
  parameter(expert, "weight") << 1, 0, -3e-9, -0.5, 0, 1e-9, 0.25, 0, 2e-9;
  const auto frozen = expert.freeze(Storage::int8);
  Matrix<double> y(3, 3), cache(0, 3);
  frozen.predict(Matrix<double>::Identity(3, 3), y, cache);
  const Matrix<double> weight = y.transpose();
  CHECK((weight - expert.weight()).cwiseAbs().col(0).maxCoeff() <= 0.51 / 127);
  CHECK(weight.col(1).isZero(0));
  CHECK((weight - expert.weight()).cwiseAbs().col(2).maxCoeff() <= 0.51 * 3e-9 / 127);
  CHECK(weight(0, 0) == Approx(1));
  std::vector<std::string> names;
  frozen.visit([&](const ParameterName& name, const auto&) { names.push_back(name.str()); });
  CHECK(names == std::vector<std::string>{"weight", "scale", "bias"});
}

TEST_CASE("what cannot be frozen says so") {
  DenseExpert<float> expert({.input_dim = 2, .output_dim = 2}, key);
  parameter(expert, "weight")(1, 0) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(expert.freeze(Storage::bf16),
                    "comet::freeze: weight(1, 0) is nan, expected a finite number");
  parameter(expert, "weight")(1, 0) = std::numeric_limits<float>::max();
  CHECK_THROWS_WITH(expert.freeze(Storage::bf16),
                    "comet::freeze: weight as bfloat16(1, 0) is inf, expected a finite number");
  CHECK_NOTHROW(expert.freeze(Storage::int8));
  parameter(expert, "weight").setConstant(1e-42F);
  CHECK(expert.freeze(Storage::int8).parts()[0].affine.scale()(0) == 1);
  using Part = FrozenExpert<float>::Part;
  const DenseExpert<float> wide({.input_dim = 2, .output_dim = 3}, key);
  const std::vector<Part> parts = {wide.freeze().parts()[0], wide.freeze().parts()[0]};
  CHECK_THROWS_WITH(FrozenExpert<float>(parts),
                    "comet::FrozenExpert: part.input_dim() is 2, expected output_dim() of the part "
                    "before it = 3");
  CHECK_THROWS_WITH(FrozenExpert<float>({}),
                    "comet::FrozenExpert: parts.size() is 0, expected at least 1");
}

TEMPLATE_TEST_CASE("what overflows on the way comes out as no number, however weights are kept", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  // A hidden unit of -inf is nan behind the activation, the others are as ever.
  MlpExpert<S> expert(
      {.input_dim = 4, .hidden_dim = 40, .output_dim = 3, .activation = Activation::gelu}, key);
  parameter(expert, "hidden.weight").col(17).setConstant(S(-1e20));
  const Matrix<S> x = Matrix<S>::Constant(4, 3, std::numeric_limits<S>::max() / S(1e10));
  for (const Storage storage : {Storage::full, Storage::bf16, Storage::int8}) {
    const auto frozen = expert.freeze(storage);
    Matrix<S> y(3, 3), cache(frozen.cache_dim(), 3);
    frozen.predict(x, y, cache);
    CHECK(y.array().isNaN().all());
  }
}
