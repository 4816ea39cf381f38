// SPDX-License-Identifier: MIT
// Whatever is done to a training between its steps, saved and resumed, copied, moved or asked, its
// parameters are those of one that was left alone, bit for bit.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/inference/freeze.hpp>
#include <comet/io/safetensors.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>

#include <examples/movielens/temporary_directory.hpp>
#include <support/catch.hpp>
#include <support/model.hpp>

using namespace comet;

namespace {

constexpr Index input_dim = 3;
constexpr Index output_dim = 2;
constexpr Index num_experts = 4;
constexpr Index samples = 12;

template <class S>
CometGate<S> make_gate(const CometGate<S>*, RandomKey key) {
  return CometGate<S>({.input_dim = input_dim, .num_experts = num_experts, .k = 2, .entropy = 0.1},
                      key);
}
template <class S>
TopKGate<S> make_gate(const TopKGate<S>*, RandomKey key) {
  return TopKGate<S>({.input_dim = input_dim, .num_experts = num_experts, .k = 2, .noise = true},
                     key);
}

/// A layer of two tasks with its optimizer. Step t is a function of t and of what is kept here.
template <class Gate>
struct Training {
  using S = typename Gate::Scalar;
  using Layer = MoeLayer<Gate, DenseExpert<S>>;
  using Workspace = typename Layer::Workspace;

  explicit Training(RandomKey key) : layer(make_layer(key)) {}

  static Layer make_layer(RandomKey key) {
    std::vector<DenseExpert<S>> experts;
    for (Index i = 0; i < num_experts; ++i)
      experts.emplace_back(
          DenseExpertOptions{.input_dim = input_dim, .output_dim = output_dim, .dropout = 0.2},
          key.fold(i));
    std::vector<Gate> gates;
    for (int task = 0; task < 2; ++task)
      gates.push_back(make_gate(static_cast<const Gate*>(nullptr), key.fold(10 + task)));
    return Layer(std::move(gates), std::move(experts));
  }

  void step(Workspace& workspace) {
    const RandomKey key = RandomKey(7).fold(adam.num_steps());
    const Matrix<S> x = test::random_matrix<S>(input_dim, samples, key.fold(0).value());
    const Matrix<S> target = test::random_matrix<S>(output_dim, 2 * samples, key.fold(1).value());
    Matrix<S> y(output_dim, 2 * samples), dy(output_dim, 2 * samples);
    layer.forward(x, y, key.fold(2), workspace);
    mean_squared_error<S>(y, target, Matrix<S>::Ones(output_dim, 2 * samples), dy);
    layer.backward(x, dy, workspace);
    adam.step(layer);
  }

  void save(const std::filesystem::path& file) {
    std::vector<Tensor> tensors = parameter_tensors(layer);
    adam.visit_state([&](const char* name, auto& values) {
      tensors.push_back(
          make_tensor<S>(std::string("adam.") + name, {Index(values.size())}, values));
    });
    save_tensors(file, std::move(tensors), {{"steps", std::to_string(adam.num_steps())}});
  }

  void load(const std::filesystem::path& path) {
    const TensorFile file(path);
    load_parameters(file, layer, "", {"adam.mean", "adam.square"});
    adam.set_num_steps(std::stoll(file.metadata().at("steps")));
    adam.visit_state([&](const char* name, auto& values) {
      const auto saved = file.values<S>(std::string("adam.") + name);
      values.assign(saved.begin(), saved.end());
    });
  }

  Layer layer;
  Adam<S> adam{{.learning_rate = 0.05}};
};

/// The frozen gates choose as the gates do; both layers predict the same.
template <class Gate>
void freeze_and_predict(const Training<Gate>& training, RandomKey key,
                        typename Training<Gate>::Workspace& workspace) {
  using S = typename Gate::Scalar;
  std::vector<decltype(freeze(training.layer.gates()[0]))> gates;
  for (const Gate& gate : training.layer.gates()) gates.push_back(freeze(gate));
  const MoeLayer frozen(std::move(gates), training.layer.experts());
  typename decltype(frozen)::Workspace frozen_workspace;
  const Matrix<S> x = test::random_matrix<S>(input_dim, 5, key.value());
  Matrix<S> expected(output_dim, 10), found(output_dim, 10);
  training.layer.predict(x, expected, workspace);
  frozen.predict(x, found, frozen_workspace);
  CHECK(test::same_bits(found, expected));
}

}  // namespace

TEMPLATE_TEST_CASE(
    "any sequence of training, saving, loading, copying and asking leaves the bits "
    "of an undisturbed training",
    "", CometGate<float>, TopKGate<float>) {
  using S = typename TestType::Scalar;
  using Workspace = typename Training<TestType>::Workspace;
  const RandomKey start(3);

  std::vector<std::vector<S>> undisturbed;  // parameters after so many steps
  {
    Training<TestType> training(start);
    Workspace workspace;
    for (int step = 0; step <= 48; ++step) {
      undisturbed.push_back(test::values_of(training.layer));
      training.step(workspace);
    }
  }

  const movielens::test::TemporaryDirectory directory;
  for (int sequence = 0; sequence < 50; ++sequence) {
    const RandomKey key = RandomKey(11).fold(sequence);
    Training<TestType> training(start);
    Workspace workspace;
    std::string history;
    for (std::uint64_t i = 0; i < 12; ++i) {
      const RandomKey own = key.fold(i);
      const auto train = [&](std::uint64_t most) {
        for (std::uint64_t steps = own.index(1, most + 1); steps > 0; --steps)
          training.step(workspace);
      };
      switch (own.index(0, 7)) {
        case 0:
        case 1:
          history += " train";
          train(4);
          break;
        case 2: {
          history += " save+load";
          training.save(directory.path() / "state");
          Training<TestType> fresh(RandomKey(99));  // of other weights
          if (own.index(2, 2) == 1) fresh.step(workspace);
          fresh.load(directory.path() / "state");
          training = std::move(fresh);
          break;
        }
        case 3: {
          history += " copy+train+restore";
          const Training<TestType> copy = training;
          train(3);
          training = copy;
          break;
        }
        case 4: {
          history += " move";
          Training<TestType> moved = std::move(training);
          training = std::move(moved);
          break;
        }
        case 5:
          history += " freeze+predict";
          freeze_and_predict(training, own, workspace);
          break;
        default:
          history += " workspace";
          workspace = Workspace();
      }
    }
    const auto steps = std::size_t(training.adam.num_steps());
    INFO("sequence " << sequence << ":" << history << ", " << steps << " steps");
    REQUIRE(steps < undisturbed.size());
    CHECK(test::same_bits(test::values_of(training.layer), undisturbed[steps]));
  }
}
