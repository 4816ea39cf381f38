// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include <comet/gates/hyperplanes.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

TEST_CASE("hyperplanes start within their bound and give affine functions") {
  Hyperplanes<double> planes(5, 21);
  planes.initialize(1.0, RandomKey(1));
  CHECK(planes.input_dim() == 5);
  CHECK(planes.size() == 21);
  CHECK(planes.weight().cwiseAbs().maxCoeff() <= 1.0);
  CHECK(planes.bias().cwiseAbs().maxCoeff() <= 1.0);
  CHECK(planes.bias().cwiseAbs().minCoeff() > 0.0);
  const Matrix<double> x = random_matrix<double>(5, 3, 2);
  const double* columns[] = {x.col(2).data(), x.col(0).data()};
  double logits[2];
  planes.logits(7, columns, 2, logits);
  CHECK(logits[0] == Approx(planes.weight().col(7).dot(x.col(2)) + planes.bias()(7, 0)));
  CHECK(logits[1] == Approx(planes.weight().col(7).dot(x.col(0)) + planes.bias()(7, 0)));
  CHECK(planes.logit(7, columns[0]) == logits[0]);
  std::vector<std::string> names;
  for_each_parameter(planes, [&](const ParameterName& n, auto&) { names.push_back(n.str()); });
  CHECK(names == std::vector<std::string>{"weight", "bias"});
}

TEST_CASE("hyperplanes without offsets are linear functions") {
  Hyperplanes<double> planes(3, 2, Hyperplanes<double>::Offsets::none);
  planes.initialize(1.0, RandomKey(1));
  CHECK(!planes.has_bias());
  CHECK(count_tensors(planes) == 1);
  const Matrix<double> zero = Matrix<double>::Zero(3, 1);
  CHECK(planes.logit(1, zero.data()) == 0.0);
}
