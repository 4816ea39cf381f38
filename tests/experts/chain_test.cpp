// SPDX-License-Identifier: MIT
#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/experts/chain.hpp>
#include <comet/experts/dense.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/layers/convolution_2d.hpp>
#include <comet/layers/dense.hpp>
#include <comet/layers/max_pool_2d.hpp>
#include <comet/losses/softmax_cross_entropy.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>
#include <support/fixed_gate.hpp>
#include <support/golden.hpp>
#include <support/mixture_checks.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::Json;
using comet::test::random_matrix;

namespace {

template <class S>
using PictureExpert = Chain<Convolution2d<S>, MaxPool2d<S>, Convolution2d<S>, Dense<S>>;

static_assert(ColumnFunction<PictureExpert<float>>);
static_assert(ColumnFunction<Chain<PictureExpert<float>, DenseExpert<float>>>);

/// On pictures of 8 x 7 x 2.
template <class S>
typename PictureExpert<S>::Options options(Padding padding = Padding::valid,
                                           Activation activation = Activation::relu) {
  const bool same = padding == Padding::same;
  const Index height = same ? 4 : 3, width = same ? 3 : 2, filters = 3;
  const Convolution2dOptions first = {8, 7, 2, filters, 3, 3, 1, padding, activation};
  const Convolution2dOptions second = {height, width, filters, 4, 2, 2, 1, padding, activation};
  const Index flat = same ? height * width * 4 : (height - 1) * (width - 1) * 4;
  return {first,
          {.height = same ? 8 : 6, .width = same ? 7 : 5, .channels = filters},
          second,
          {.input_dim = flat, .output_dim = 5, .activation = activation}};
}

template <class S>
auto make_layer(Index n, const typename PictureExpert<S>::Options& options, Index k = 2) {
  return MoeLayer(TopKGate<S>({.input_dim = 8 * 7 * 2, .num_experts = n, .k = k}, RandomKey(9)),
                  make_experts<PictureExpert<S>>(n, options, RandomKey(1)));
}

/// An expert's columns by its parts' own passes.
template <class S>
Matrix<S> one_by_one(const PictureExpert<S>& expert, const Matrix<S>& x) {
  const auto applied = [](const auto& part, const Matrix<S>& in) {
    Pass pass(part);
    Matrix<S> out(part.output_dim(), in.cols());
    part.predict(in, out, pass);
    return out;
  };
  return applied(
      expert.template part<3>(),
      applied(expert.template part<2>(),
              applied(expert.template part<1>(), applied(expert.template part<0>(), x))));
}

}  // namespace

TEMPLATE_TEST_CASE("a chain is its parts one after another, of their names and costs", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const PictureExpert<S> expert(options<S>(), RandomKey(3));
  const Matrix<S> x = random_matrix<S>(expert.input_dim(), 7, 1);
  Matrix<S> y(expert.output_dim(), 7), cache(expert.cache_dim(), 7), trained = y;
  expert.predict(x, y, cache);
  CHECK(test::same_bits(y, one_by_one(expert, x)));
  expert.forward(x, trained, cache, TrainingTile{RandomKey(1), {}});
  CHECK(test::same_bits(trained, y));

  CHECK(expert.input_dim() == 112);
  CHECK(expert.output_dim() == 5);
  const auto& [first, pool, second, dense] =
      std::tie(expert.template part<0>(), expert.template part<1>(), expert.template part<2>(),
               expert.template part<3>());
  CHECK(expert.cost() == first.cost() + pool.cost() + second.cost() + dense.cost());
  CHECK(expert.cache_dim() == 2 * (first.output_dim() + pool.output_dim() + second.output_dim()));
  CHECK(expert.num_slices() == 3);
  std::vector<std::string> names;
  for_each_parameter(expert,
                     [&](const ParameterName& name, const auto&) { names.push_back(name.str()); });
  CHECK(names ==
        std::vector<std::string>{"0.weight", "0.bias", "2.weight", "2.bias", "3.weight", "3.bias"});
  // Each part has random numbers of its own.
  CHECK(test::same_bits(first.weight(),
                        Convolution2d<S>(first.options(), RandomKey(3).fold(0)).weight()));
  CHECK(test::same_bits(dense.weight(), Dense<S>(dense.options(), RandomKey(3).fold(3)).weight()));
}

TEST_CASE("numbers of parts beyond nine are names, too") {
  using D = Dense<double>;
  const D d({.input_dim = 2, .output_dim = 2}, RandomKey(1));
  const Chain<D, D, D, D, D, D, D, D, D, D, D, D> expert(d, d, d, d, d, d, d, d, d, d, d, d);
  std::vector<std::string> names;
  for_each_parameter(expert,
                     [&](const ParameterName& name, const auto&) { names.push_back(name.str()); });
  REQUIRE(names.size() == 24);
  CHECK(names[18] == "9.weight");
  CHECK(names[20] == "10.weight");
  CHECK(names[23] == "11.bias");
}

TEST_CASE("a chain's gradients agree with differences in a layer", "[gradient]") {
  for (const Padding padding : {Padding::valid, Padding::same})
    for (const Activation activation : {Activation::relu, Activation::gelu}) {
      CAPTURE(int(padding), int(activation));
      auto layer = make_layer<double>(2, options<double>(padding, activation));
      const auto result = test::check_mixture_gradients(layer, random_matrix<double>(112, 3, 11),
                                                        random_matrix<double>(5, 3, 2));
      CAPTURE(result.where, result.analytic, result.numeric);
      CHECK(result.largest_error < 1e-7);
    }
}

TEST_CASE("parts that drop units drop each its own, the same ones backward") {
  using Expert = Chain<DenseExpert<double>, MlpExpert<double>, DenseExpert<double>>;
  const DenseExpertOptions same = {.input_dim = 6, .output_dim = 6, .dropout = 0.5};
  const Expert::Options options = {
      same, {.input_dim = 6, .hidden_dim = 7, .output_dim = 6, .dropout = 0.3}, same};
  MoeLayer layer(TopKGate<double>({.input_dim = 6, .num_experts = 3, .k = 2}, RandomKey(9)),
                 make_experts<Expert>(3, options, RandomKey(1)));
  for_each_parameter(layer, [](const ParameterName&, auto& values) {
    RandomKey(3).fill_uniform(values, -1, 1);  // biases of 0 are kinks where all is dropped
  });
  const auto result = test::check_mixture_gradients(layer, random_matrix<double>(6, 4, 11),
                                                    random_matrix<double>(6, 4, 2));
  CAPTURE(result.where, result.analytic, result.numeric);
  CHECK(result.largest_error < 1e-7);

  // Two parts that copy what they are given, were it not for dropout: with the same numbers for
  // both, what the first keeps the second would keep.
  using Copies = Chain<DenseExpert<double>, DenseExpert<double>>;
  Copies copies({{.input_dim = 64, .output_dim = 64, .dropout = 0.5},
                 {.input_dim = 64, .output_dim = 64, .dropout = 0.5}},
                RandomKey(1));
  for (const char* name : {"0.weight", "1.weight"}) test::parameter(copies, name).setIdentity();
  const Matrix<double> ones = Matrix<double>::Ones(64, 1);
  Matrix<double> out(64, 1), cache(copies.cache_dim(), 1);
  const SampleId sample = 0;
  copies.forward(ones, out, cache, TrainingTile{RandomKey(5), {&sample, 1}});
  const Index kept = (out.array() > 0).count();
  CHECK(kept > 5);
  CHECK(kept < 25);
}

TEST_CASE("a layer of chains equals every expert on every picture") {
  const Index n = 4, num_samples = 23;
  const auto experts = make_experts<PictureExpert<double>>(n, options<double>(), RandomKey(1));
  const Matrix<double> x = random_matrix<double>(112, num_samples, 2);
  const Matrix<double> dy = random_matrix<double>(5, num_samples, 3);
  for (const test::Load load : {test::Load::random, test::Load::skewed, test::Load::idle,
                                test::Load::full, test::Load::empty}) {
    CAPTURE(int(load));
    const auto routing = test::make_routing<double>(load, n, num_samples, RandomKey(7));
    const MoeLayer layer(test::FixedGate<double>(n, routing), experts);
    Pass pass(layer);
    Matrix<double> y(5, num_samples), dx = Matrix<double>::Zero(112, num_samples);
    layer.forward(x, y, RandomKey(0), pass);
    layer.backward(x, dy, dx, pass);

    const Matrix<double> weights = routing.dense(n);
    Matrix<double> dense_y = Matrix<double>::Zero(5, num_samples);
    Matrix<double> dense_dx = Matrix<double>::Zero(112, num_samples);
    for (Index e = 0; e < n; ++e) {
      const auto& expert = experts[std::size_t(e)];
      Gradients<double> gradients(expert);
      Matrix<double> out(5, num_samples), cache(expert.cache_dim(), num_samples);
      expert.forward(x, out, cache, TrainingTile{RandomKey(0), {}});
      dense_y += out * weights.row(e).asDiagonal();
      Matrix<double> dout = dy * weights.row(e).asDiagonal();
      expert.backward_columns(x, out, cache, dout, dense_dx);
      for (Index slice = 0; slice < expert.num_slices(); ++slice)
        expert.accumulate_gradients(x, cache, dout, slice, gradients.view());
      Index tensor = 0;
      for_each_parameter(expert, [&](const ParameterName& name, const auto&) {
        CAPTURE(e, name.str());
        const std::string path = "experts." + std::to_string(e) + "." + name.str();
        CHECK(test::relative_error(test::gradient(layer, pass, path), gradients[tensor++]) < 1e-13);
      });
    }
    CHECK(test::relative_error(y, dense_y) < 1e-13);
    CHECK(test::relative_error(dx, dense_dx) < 1e-13);
  }
}

TEST_CASE("bits of a chain depend neither on the batch nor on the threads; no allocation") {
  const auto padding = GENERATE(Padding::valid, Padding::same);
  const auto layer = make_layer<float>(3, options<float>(padding, Activation::silu));
  const Matrix<float> x = random_matrix<float>(112, 150, 1);
  const Matrix<float> dy = random_matrix<float>(5, 150, 2);
  std::vector<float> reference;
  for (const Index threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    Pass pass(layer, &pool);
    Matrix<float> y(5, 150), dx = Matrix<float>::Zero(112, 150), predicted = y;
    const auto step = [&] {
      layer.forward(x, y, RandomKey(1), pass);
      layer.backward(x, dy, dx, pass);
    };
    step();
    auto all = test::gradients_of(layer, pass);
    all.insert(all.end(), dx.data(), dx.data() + dx.size());
    all.insert(all.end(), y.data(), y.data() + y.size());
    if (threads == 1) reference = all;
    CHECK(test::same_bits(all, reference));
    layer.predict(x, predicted, pass);
    for (const Index b : {0, 77, 149}) {
      Matrix<float> alone(5, 1);
      layer.predict(x.col(b), alone, pass);
      CHECK(test::same_bits(alone, predicted.col(b)));
    }
    step();
    if (test::can_count_allocations) CHECK(test::count_allocations(step) == 0);
  }
}

TEST_CASE("a chain refuses parts that do not fit") {
  const Dense<float> narrow({.input_dim = 3, .output_dim = 4}, RandomKey(0));
  const Dense<float> wide({.input_dim = 5, .output_dim = 2}, RandomKey(0));
  CHECK_THROWS_WITH((Chain<Dense<float>, Dense<float>>(narrow, wide)),
                    "comet::Chain: input_dim of part 1 is 5, expected output_dim of part 0 = 4");
  auto wrong = options<float>();
  std::get<1>(wrong).channels = 4;
  CHECK_THROWS_WITH(PictureExpert<float>(wrong, RandomKey(0)),
                    "comet::Chain: input_dim of part 1 is 120, expected output_dim of part 0 = 90");
  std::get<1>(wrong).channels = 0;
  CHECK_THROWS_WITH(PictureExpert<float>(wrong, RandomKey(0)),
                    "comet::MaxPool2d: channels is 0, expected at least 1");
}

namespace {

CometGate<double> golden_gate(const Json& c, CometGate<double>*) {
  return CometGate<double>({.input_dim = c.at("height").get<Index>() * c.at("width").get<Index>(),
                            .num_experts = c.at("num_experts"),
                            .k = c.at("k"),
                            .gamma = c.at("gamma"),
                            .entropy = c.at("entropy_strength")},
                           RandomKey(0));
}
TopKGate<double> golden_gate(const Json& c, TopKGate<double>*) {
  return TopKGate<double>({.input_dim = c.at("height").get<Index>() * c.at("width").get<Index>(),
                           .num_experts = c.at("num_experts"),
                           .k = c.at("k")},
                          RandomKey(0));
}

/// The two-picture model of the paper at toy size: a mixture of convolutional experts, a gate and
/// a head for each of two tasks.
template <class Gate>
struct PictureModel {
  using Scalar = double;
  using Expert = Chain<Convolution2d<double>, MaxPool2d<double>, Convolution2d<double>,
                       MaxPool2d<double>, Dense<double>>;

  explicit PictureModel(const Json& c)
      : mixture(std::vector<Gate>(2, golden_gate(c, static_cast<Gate*>(nullptr))),
                make_experts<Expert>(size(c, "num_experts"), expert_options(c), RandomKey(0))) {
    for (Index task = 0; task < 2; ++task) {
      hidden.emplace_back(
          DenseOptions{size(c, "expert_dim"), size(c, "head_dim"), Activation::relu}, RandomKey(0));
      output.emplace_back(DenseOptions{size(c, "head_dim"), size(c, "classes")}, RandomKey(0));
    }
  }

  static Index size(const Json& c, const char* name) { return c.at(name).get<Index>(); }

  static typename Expert::Options expert_options(const Json& c) {
    const Index kernel = size(c, "kernel"), pool = size(c, "pool");
    Index height = size(c, "height"), width = size(c, "width"), channels = size(c, "channels");
    const auto convolution = [&](std::size_t number) {
      const Index filters = c.at("filters")[number];
      const Convolution2dOptions options = {height, width, channels,       filters,         kernel,
                                            kernel, 1,     Padding::valid, Activation::relu};
      height -= kernel - 1, width -= kernel - 1, channels = filters;
      return options;
    };
    const auto pooling = [&] {
      const MaxPool2dOptions options = {height, width, channels, pool};
      height /= pool, width /= pool;
      return options;
    };
    const auto first = convolution(0);
    const auto first_pool = pooling();
    const auto second = convolution(1);
    const auto second_pool = pooling();
    return {first, first_pool, second, second_pool,
            DenseOptions{height * width * channels, size(c, "expert_dim"), Activation::relu}};
  }

  template <class F>
  void visit(F&& f) const {
    f("mixture", mixture), f("hidden", hidden), f("output", output);
  }

  MoeLayer<Gate, Expert> mixture;
  std::vector<Dense<double>> hidden, output;
};

/// A tensor of the model in the words of the golden file: of the experts' one for all of them.
Matrix<double> golden_tensor(const Json& tensors, const std::string& name, Index num_experts) {
  const auto part_after = [&](const std::string& prefix) { return name.substr(prefix.size()); };
  const std::string experts = "mixture.experts.", gates = "mixture.gates.";
  std::string leaf = name.substr(name.rfind('.') + 1);
  if (name.starts_with(experts)) {
    const Index expert = std::stoll(part_after(experts));
    const std::string part = part_after(experts).substr(2, 1);
    const Json& tensor = tensors.at((part == "0"   ? "conv1_"
                                     : part == "2" ? "conv2_"
                                                   : "dense_") +
                                    leaf);
    const Matrix<double> all = test::matrix(tensor);
    const Index size = all.size() / num_experts;
    return all.reshaped().segment(expert * size, size);
  }
  if (name.starts_with(gates)) {
    std::string part = part_after(gates);  // 0.split.weight
    std::replace(part.begin(), part.end(), '.', '_');
    return test::matrix(tensors.at("gate" + part)).reshaped();
  }
  const std::string task = name.substr(name.find('.') + 1, 1);
  const std::string dense = name.starts_with("hidden") ? "_dense1_" : "_dense2_";
  return test::matrix(tensors.at("head" + task + dense + leaf)).reshaped();
}

template <class Gate, class F>
void for_each_golden(const PictureModel<Gate>& model, const Json& tensors, F&& f) {
  Index number = 0;
  for_each_parameter(model, [&](const ParameterName& name, const auto& values) {
    CAPTURE(name.str());
    f(number++, values, golden_tensor(tensors, name.str(), model.mixture.num_experts()));
  });
}

template <class Gate>
struct PictureTraining {
  PictureModel<Gate>& model;
  Gradients<double> gradients{model};
  GradientView<double> rest = gradients.view();
  Pass<MoeLayer<Gate, typename PictureModel<Gate>::Expert>> mixture{model.mixture,
                                                                    rest.next(model.mixture)};
  std::vector<Pass<Dense<double>>> hidden = passes(model.hidden);
  std::vector<Pass<Dense<double>>> output = passes(model.output);

  std::vector<Pass<Dense<double>>> passes(const std::vector<Dense<double>>& layers) {
    std::vector<Pass<Dense<double>>> result;
    for (const auto& layer : layers) result.emplace_back(layer, rest.next(layer));
    return result;
  }

  /// The loss of a batch; adds its gradients.
  double backward(const Matrix<double>& x, const Json& labels, const Json& weights) {
    const Index samples = x.cols(), width = model.mixture.output_dim();
    Matrix<double> mixed(width, 2 * samples), dmixed = Matrix<double>::Zero(width, 2 * samples);
    model.mixture.forward(x, mixed, RandomKey(0), mixture);
    double loss = model.mixture.regularization(mixture);
    for (std::size_t t = 0; t < 2; ++t) {
      const auto& first = model.hidden[t];
      const auto& second = model.output[t];
      const auto in = mixed.middleCols(Index(t) * samples, samples);
      Matrix<double> h(first.output_dim(), samples), z(second.output_dim(), samples), dz = z;
      first.forward(in, h, RandomKey(0), hidden[t]);
      second.forward(h, z, RandomKey(0), output[t]);
      const double weight = weights[t];
      loss += weight * softmax_cross_entropy(z, labels[t].get<std::vector<std::int32_t>>(), dz);
      dz *= weight;
      Matrix<double> dh = Matrix<double>::Zero(h.rows(), samples);
      second.backward(h, z, dz, dh, output[t]);
      first.backward(in, h, dh, dmixed.middleCols(Index(t) * samples, samples), hidden[t]);
    }
    model.mixture.backward(x, dmixed, no_gradient, mixture);
    return loss;
  }

  Index num_weights() const {
    Index count = 0;
    for (Index t = 0; t < 2; ++t) count += mixture.workspace.routing(t).num_entries();
    return count;
  }
};

template <class Gate>
void check_training(const Json& c) {
  const double tolerance = 1e-8;
  PictureModel<Gate> model(c);
  const Index n = model.mixture.num_experts();
  for_each_parameter(model, [&](const ParameterName& name, auto& values) {
    values.reshaped() = golden_tensor(c.at("init"), name.str(), n);
  });
  const Json& rates = c.at("adam");
  Adam<double> adam(model, {.learning_rate = c.at("learning_rate").get<double>(),
                            .beta1 = rates.at("beta1").get<double>(),
                            .beta2 = rates.at("beta2").get<double>(),
                            .epsilon = rates.at("epsilon").get<double>()});
  PictureTraining<Gate> training{model};
  const Index samples = c.at("batch");
  const Matrix<double> images = test::matrix(c.at("images")).reshaped(100, 5 * samples);
  for (Index step = 0; step < 5; ++step) {
    CAPTURE(step);
    const auto number = std::size_t(step);
    const double loss = training.backward(images.middleCols(step * samples, samples),
                                          c.at("labels")[number], c.at("task_weights"));
    CHECK(loss == Approx(c.at("losses")[number].get<double>()).epsilon(tolerance));
    CHECK(training.num_weights() == c.at("nonzero_weights")[number].get<Index>());
    if (step == 0)
      for_each_golden(model, c.at("first_step_grads"),
                      [&](Index tensor, const auto&, const Matrix<double>& expected) {
                        CHECK(test::relative_error(training.gradients[tensor].reshaped(),
                                                   expected) < tolerance);
                      });
    adam.step(model, training.gradients);
  }
  for_each_golden(model, c.at("final"),
                  [&](Index, const auto& values, const Matrix<double>& expected) {
                    CHECK(test::relative_error(values.reshaped(), expected) < tolerance);
                  });
}

}  // namespace

TEST_CASE("two pictures: five Adam steps as an independent reference takes them", "[golden]") {
  for (const Json& c : test::golden("two_image_training.json")) {
    CAPTURE(c.at("gate").get<std::string>());
    if (c.at("gate") == "comet") {
      check_training<CometGate<double>>(c);
    } else {
      REQUIRE(c.at("gate") == "top_k");
      check_training<TopKGate<double>>(c);
    }
  }
}
