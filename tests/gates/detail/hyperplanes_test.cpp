// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include <comet/gates/detail/hyperplanes.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

/// Hyperplanes as a model, to look at their gradients.
struct Bank {
  using Scalar = double;
  detail::Hyperplanes<double> planes{5, 21};
  Bank() { planes.initialize(1.0, RandomKey(1)); }
  template <class F>
  void visit_parameters(F&& f) {
    planes.visit("bank", f);
  }
};

}  // namespace

TEST_CASE("hyperplanes start within their bound and give affine functions") {
  Bank bank;
  const auto& planes = bank.planes;
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
  std::vector<std::string> names;
  bank.visit_parameters([&](const ParameterName& n, auto&, auto&) { names.push_back(n.str()); });
  CHECK(names == std::vector<std::string>{"bank.weight", "bank.bias"});
}

TEST_CASE("sparse derivatives by logits give the gradients of the dense product") {
  const Index samples = 37;
  const Matrix<double> x = random_matrix<double>(5, samples, 2);
  detail::LogitGradients<double> gradients;
  for (int repeat = 0; repeat < 2; ++repeat) {  // the second time on used scratch
    Bank bank;
    Matrix<double> by_logit = Matrix<double>::Zero(21, samples);
    gradients.start(4);
    const RandomKey key(3);
    std::uint64_t counter = 0;
    for (Index b = 0; b < samples; ++b)
      for (Index h = 0; h < 21; ++h) {
        if (h % 5 == 1 || key.uniform(counter++) < 0.6) continue;  // some have none at all
        by_logit(h, b) = key.uniform(counter++, -1, 1);
        gradients.add(b / 10, h, b, by_logit(h, b));
      }
    Matrix<double> dx = Matrix<double>::Ones(5, samples);
    gradients.apply(bank.planes, x, dx, nullptr);
    const Matrix<double> expected_dx =
        Matrix<double>::Ones(5, samples) + bank.planes.weight() * by_logit;
    CHECK(test::relative_error(dx, expected_dx) <= 1e-13);
    CHECK(test::relative_error(test::gradient(bank, "bank.weight"),
                               Matrix<double>(x * by_logit.transpose())) <= 1e-13);
    CHECK(test::relative_error(test::gradient(bank, "bank.bias"),
                               Matrix<double>(by_logit.rowwise().sum())) <= 1e-13);
  }
}

TEST_CASE("no derivatives at all leave no gradient") {
  Bank bank;
  detail::LogitGradients<double> gradients;
  gradients.start(1);
  gradients.add(0, 3, 0, 0.0);
  Matrix<double> dx = Matrix<double>::Zero(5, 1);
  gradients.apply(bank.planes, random_matrix<double>(5, 1, 1), dx, nullptr);
  for (const double g : test::gradients_of(bank)) CHECK(g == 0.0);
  CHECK(dx.isZero(0));
}

TEST_CASE("tiles cover a batch") {
  CHECK(detail::num_tiles(0) == 0);
  CHECK(detail::num_tiles(1) == 1);
  CHECK(detail::num_tiles(detail::samples_per_tile) == 1);
  CHECK(detail::num_tiles(detail::samples_per_tile + 1) == 2);
}
