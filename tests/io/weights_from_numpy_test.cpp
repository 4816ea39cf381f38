// SPDX-License-Identifier: MIT
// A file that scripts/weights_from_numpy.py wrote, of a mixture whose leaves were in heap order.
#include <fstream>
#include <string>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/io/safetensors.hpp>
#include <comet/moe_layer.hpp>
#include <nlohmann/json.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using namespace comet;

TEST_CASE("weights of another framework compute what they did there") {
  constexpr Index d = 3, n = 5, m = 2, samples = 6;
  using Gate = CometGate<double>;
  using Expert = DenseExpert<double>;
  MoeLayer<Gate, Expert> layer(
      make_gates<Gate>(1, {.input_dim = d, .num_experts = n, .k = 2, .gamma = 0.25}, RandomKey(1)),
      make_experts<Expert>(n, {.input_dim = d, .output_dim = m, .activation = Activation::identity},
                           RandomKey(2)));
  const std::string file = COMET_TEST_DATA "/weights_from_numpy";
  load_parameters(TensorFile(file + ".safetensors"), layer);
  {  // Written again, it is the file that tests/scripts/weights_from_numpy.py reads without comet.
    const comet::test::TemporaryDirectory directory;
    save_parameters(directory.path() / "model", layer);
    CHECK(comet::test::content_of(directory.path() / "model") ==
          comet::test::content_of(COMET_TEST_DATA "/written_by_comet.safetensors"));
  }

  const auto numbers = nlohmann::json::parse(std::ifstream(file + ".json"));
  const auto x = numbers.at("x").get<std::vector<double>>();
  const auto expected = numbers.at("y").get<std::vector<double>>();
  REQUIRE(x.size() == std::size_t(d * samples));
  Matrix<double> y(m, samples);
  Pass pass(layer);
  layer.predict(Eigen::Map<const Matrix<double>>(x.data(), d, samples), y, pass);
  CHECK((y - Eigen::Map<const Matrix<double>>(expected.data(), m, samples)).cwiseAbs().maxCoeff() <
        1e-13);
  // The numbers mean something only if most experts take part, and not all of them everywhere.
  CHECK(pass.workspace.routing(0).num_entries() < n * samples);
  CHECK(pass.workspace.routing(0).num_entries() > samples);
}
