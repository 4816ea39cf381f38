// SPDX-License-Identifier: MIT
// The commonest mistakes and what they say: the table in docs/faq.md quotes these messages, word
// for word. Those that do not compile are in tests/compile_fail, with the sentence they expect.
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>

using namespace comet;

namespace mistakes {

using TopK = TopKGate<double>;
using Flat = DenseExpert<double>;
using Layer = MoeLayer<TopK, Flat>;

std::string text_of(const std::string& file) {
  std::ifstream stream(COMET_TEST_DATA "/../" + file);
  REQUIRE(stream);
  return {std::istreambuf_iterator<char>(stream), {}};
}

const std::string& questions() {
  static const std::string text = text_of("../docs/faq.md");
  return text;
}

Layer layer_of_two() {
  return Layer(TopK({.input_dim = 3, .num_experts = 2, .k = 1}, RandomKey(1).fold(0)),
               make_experts<Flat>(2, {.input_dim = 3, .output_dim = 4}, RandomKey(2)));
}

}  // namespace mistakes

TEST_CASE("a common mistake says what the list of them says") {
  using namespace mistakes;
  const Layer layer = layer_of_two();
  const TopK& gate = layer.gates().front();
  Pass pass(layer), forgotten(layer);
  const Matrix<double> x = Matrix<double>::Ones(3, 5), two = x.leftCols(2), in_rows = x.transpose();
  Matrix<double> y(4, 5), dy(4, 5);
  Pass gate_pass(gate);
  Routing<double> routing, another;
  gate.route(two, another, gate_pass);
  gate.forward(x, routing, RandomKey(1), gate_pass);
  const std::vector<double> dweights(std::size_t(another.num_entries()), 1.0);

  const auto says = [](const std::string& message, const auto& mistake) {
    INFO(message);
    CHECK_THROWS_WITH(mistake(), message);
    CHECK(questions().find("`" + message + "`") != std::string::npos);
  };
  says("comet::MoeLayer::predict: x.rows() is 5, expected input_dim = 3",
       [&] { layer.predict(in_rows, y, pass); });
  says("comet::TopKGate: k is 3, expected at most num_experts = 2",
       [] { TopK({.input_dim = 3, .num_experts = 2, .k = 3}, RandomKey(0)); });
  says(
      "comet::MoeLayer::backward: the pass holds no forward(), or a backward() has used it; call "
      "forward() first",
      [&] {
        layer.forward(x, y, RandomKey(1), pass);
        layer.backward(x, dy, forgotten);
      });
  says("comet::ExpertBank: expert.input_dim() is 5, expected that of the first expert = 3", [&] {
    auto experts = layer.experts();
    experts.emplace_back(DenseExpertOptions{.input_dim = 5, .output_dim = 4}, RandomKey(1));
    Layer({TopK({.input_dim = 3, .num_experts = 3, .k = 1}, RandomKey(0))}, experts);
  });
  says("comet::TopKGate::backward: routing.num_samples() is 2, expected x.cols() = 5",
       [&] { gate.backward(x, another, dweights, no_gradient, gate_pass); });
}

TEST_CASE("the list of common mistakes quotes what the compilers have to say") {
  using namespace mistakes;
  for (const char* name :
       {"row_major_input", "gate_not_trainable", "int_scalar", "temporary_output"}) {
    const std::string text = text_of("compile_fail/" + std::string(name) + ".cpp");
    const std::string mark = "// expect: ";
    const auto begin = text.find(mark) + mark.size();
    const std::string sentence = text.substr(begin, text.find('\n', begin) - begin);
    INFO(sentence);
    CHECK(questions().find("`" + sentence) != std::string::npos);
  }
}

TEST_CASE("a step without gradients changes nothing, and the sum of their squares tells") {
  using namespace mistakes;
  Layer layer = layer_of_two();
  Pass pass(layer);
  const auto before = test::values_of(layer);
  const auto sum_of_squares = [&] {
    double sum = 0;
    for (const double g : test::gradients_of(layer, pass)) sum += g * g;
    return sum;
  };
  const Matrix<double> x = Matrix<double>::Ones(3, 5), dy = Matrix<double>::Ones(4, 5);
  Matrix<double> y(4, 5);
  Adam adam(layer);

  layer.forward(x, y, RandomKey(1), pass);
  CHECK(sum_of_squares() == 0.0);
  adam.step(layer, pass);
  CHECK(test::same_bits(test::values_of(layer), before));

  layer.forward(x, y, RandomKey(1), pass);
  layer.backward(x, dy, pass);
  CHECK(sum_of_squares() > 0.0);
  adam.step(layer, pass);
  CHECK(!test::same_bits(test::values_of(layer), before));
  CHECK(sum_of_squares() == 0.0);
}
