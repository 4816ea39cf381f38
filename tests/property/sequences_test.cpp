// SPDX-License-Identifier: MIT
// Whatever is done to a training between its steps, saved and resumed, copied, moved or asked, its
// parameters are those of one that was left alone, bit for bit.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/core/random.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/inference/freeze.hpp>
#include <comet/io/safetensors.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>
#include <support/temporary_directory.hpp>

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

  explicit Training(RandomKey key) : layer(make_layer(key)), adam(layer, {.learning_rate = 0.05}) {}

  static Layer make_layer(RandomKey key) {
    auto experts = make_experts<DenseExpert<S>>(
        num_experts, {.input_dim = input_dim, .output_dim = output_dim, .dropout = 0.2}, key);
    std::vector<Gate> gates;
    for (int task = 0; task < 2; ++task)
      gates.push_back(make_gate(static_cast<const Gate*>(nullptr), key.fold(10 + task)));
    return Layer(std::move(gates), std::move(experts));
  }

  void step(Pass<Layer>& pass) {
    const RandomKey key = RandomKey(7).fold(adam.num_steps());
    const Matrix<S> x = test::random_matrix<S>(input_dim, samples, key.fold(0).value());
    const Matrix<S> target = test::random_matrix<S>(output_dim, 2 * samples, key.fold(1).value());
    Matrix<S> y(output_dim, 2 * samples), dy(output_dim, 2 * samples);
    layer.forward(x, y, key.fold(2), pass);
    mean_squared_error(y, target, dy);
    layer.backward(x, dy, pass);
    adam.step(layer, pass);
  }

  void save(const std::filesystem::path& file) {
    save_tensors(file, joined({parameter_tensors(layer, "layer."), state_tensors(adam, "adam.")}));
  }

  void load(const std::filesystem::path& path) {
    const TensorFile file(path);
    load_parameters(file, layer, "layer.");
    load_state(file, adam, "adam.");
  }

  Layer layer;
  Adam<S> adam;
};

/// The frozen gates choose as the gates do; both layers predict the same.
template <class Gate>
void freeze_and_predict(const Training<Gate>& training, RandomKey key,
                        Pass<typename Training<Gate>::Layer>& pass) {
  using S = typename Gate::Scalar;
  std::vector<decltype(freeze(training.layer.gates()[0]))> gates;
  for (const Gate& gate : training.layer.gates()) gates.push_back(freeze(gate));
  const MoeLayer frozen(std::move(gates), training.layer.experts());
  Pass frozen_pass(frozen);
  const Matrix<S> x = test::random_matrix<S>(input_dim, 5, key.value());
  Matrix<S> expected(output_dim, 10), found(output_dim, 10);
  training.layer.predict(x, expected, pass);
  frozen.predict(x, found, frozen_pass);
  CHECK(test::same_bits(found, expected));
}

}  // namespace

TEMPLATE_TEST_CASE(
    "any sequence of training, saving, loading, copying and asking leaves the bits "
    "of an undisturbed training",
    "", CometGate<float>, TopKGate<float>) {
  using S = typename TestType::Scalar;
  using Pass = Pass<typename Training<TestType>::Layer>;
  const RandomKey start(3);

  std::vector<std::vector<S>> undisturbed;  // parameters after so many steps
  {
    Training<TestType> training(start);
    Pass pass;
    for (int step = 0; step <= 48; ++step) {
      undisturbed.push_back(test::values_of(training.layer));
      training.step(pass);
    }
  }

  const comet::test::TemporaryDirectory directory;
  for (int sequence = 0; sequence < 50; ++sequence) {
    const RandomKey key = RandomKey(11).fold(sequence);
    Training<TestType> training(start);
    Pass pass;
    std::string history;
    for (std::uint64_t i = 0; i < 12; ++i) {
      const RandomKey own = key.fold(i);
      const auto train = [&](std::uint64_t most) {
        for (std::uint64_t steps = own.index(1, most + 1); steps > 0; --steps) training.step(pass);
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
          if (own.index(2, 2) == 1) fresh.step(pass);
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
          freeze_and_predict(training, own, pass);
          break;
        default:
          history += " pass";
          pass = Pass();
      }
    }
    const auto steps = std::size_t(training.adam.num_steps());
    INFO("sequence " << sequence << ":" << history << ", " << steps << " steps");
    REQUIRE(steps < undisturbed.size());
    CHECK(test::same_bits(test::values_of(training.layer), undisturbed[steps]));
  }
}
