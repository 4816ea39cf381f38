// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <comet/losses/softmax_cross_entropy.hpp>
#include <support/model.hpp>

using comet::Matrix;

TEST_CASE("softmax cross-entropy and its gradient by the definition and by differences") {
  const std::vector<std::int32_t> classes = {2, 0, 3};
  Matrix<double> z = comet::test::random_matrix<double>(4, 3, 1, -2, 2);
  Matrix<double> gradient(4, 3), scratch(4, 3);
  double expected = 0;
  for (Eigen::Index b = 0; b < 3; ++b)
    expected -=
        std::log(std::exp(z(classes[std::size_t(b)], b)) / z.col(b).array().exp().sum()) / 3;
  CHECK(comet::softmax_cross_entropy(z, classes, gradient) == Approx(expected).epsilon(1e-12));
  for (Eigen::Index i = 0; i < z.size(); ++i) {
    const double value = z.data()[i], step = 1e-5;
    z.data()[i] = value + step;
    const double above = comet::softmax_cross_entropy(z, classes, scratch);
    z.data()[i] = value - step;
    const double below = comet::softmax_cross_entropy(z, classes, scratch);
    z.data()[i] = value;
    CHECK(gradient.data()[i] == Approx((above - below) / (2 * step)).margin(1e-9));
  }
}

TEST_CASE("softmax cross-entropy survives large logits; an even guess costs log C") {
  Matrix<float> z = Matrix<float>::Constant(5, 2, 3.0F), gradient(5, 2);
  const std::vector<std::int32_t> classes = {1, 4};
  CHECK(comet::softmax_cross_entropy(z, classes, gradient) == Approx(std::log(5.0)));
  z(1, 0) = 1e5F;
  z(0, 1) = 1e5F;
  CHECK(comet::softmax_cross_entropy(z, classes, gradient) == Approx((1e5 - 3) / 2));
  CHECK(gradient(1, 0) == 0);
  CHECK(gradient(4, 1) == -0.5F);
}

TEST_CASE("misuse of softmax cross-entropy is named") {
  Matrix<double> z = Matrix<double>::Zero(3, 2), gradient(3, 2), wrong(2, 2), none(3, 0);
  CHECK_THROWS_WITH(comet::softmax_cross_entropy(z, std::vector<std::int32_t>{0, 3}, gradient),
                    "comet::softmax_cross_entropy: classes[1] is 3, expected in 0..2");
  CHECK_THROWS_WITH(comet::softmax_cross_entropy(z, std::vector<std::int32_t>{-1, 0}, gradient),
                    "comet::softmax_cross_entropy: classes[0] is -1, expected in 0..2");
  CHECK_THROWS_AS(comet::softmax_cross_entropy(z, std::vector<std::int32_t>{0}, gradient),
                  std::invalid_argument);
  CHECK_THROWS_AS(comet::softmax_cross_entropy(z, std::vector<std::int32_t>{0, 1}, wrong),
                  std::invalid_argument);
  CHECK(comet::softmax_cross_entropy(none, {}, none) == 0);
  z(2, 1) = std::nan("");
  CHECK_THROWS_WITH(comet::softmax_cross_entropy(z, std::vector<std::int32_t>{0, 1}, gradient),
                    "comet::softmax_cross_entropy: logits(2, 1) is nan, expected a finite number");
}

TEST_CASE("a logit that is not finite is named, with smoothing or without, in place or not") {
  const std::vector<std::int32_t> classes = {0, 1, 2};
  for (const double smoothing : {0.0, 0.1})
    for (const bool in_place : {false, true})
      for (const double bad : {-HUGE_VAL, HUGE_VAL, std::nan("")}) {
        CAPTURE(smoothing, in_place, bad);
        Matrix<double> z = Matrix<double>::Zero(19, 3), gradient(19, 3);
        z(17, 1) = bad;
        const std::string is = std::isnan(bad) ? "nan" : bad > 0 ? "inf" : "-inf";
        const std::string message =
            "comet::softmax_cross_entropy: logits(17, 1) is " + is + ", expected a finite number";
        const comet::SoftmaxCrossEntropyOptions options{.label_smoothing = smoothing};
        CHECK_THROWS_WITH(comet::softmax_cross_entropy(z, classes, comet::no_gradient, options),
                          message);
        Matrix<double>& to = in_place ? z : gradient;
        CHECK_THROWS_WITH(comet::softmax_cross_entropy(z, classes, to, options), message);
        CHECK_THROWS_AS(comet::softmax_cross_entropy(z, classes, to, options), comet::NotFinite);
      }
}

TEST_CASE(
    "softmax cross-entropy of many float samples is their mean; the gradient may be left out") {
  const Eigen::Index n = 3'000'000;
  const Matrix<float> z = Matrix<float>::Zero(2, n);
  const std::vector<std::int32_t> classes(std::size_t(n), 1);
  Matrix<float> gradient(2, n);
  const double loss = comet::softmax_cross_entropy(z, classes, gradient);
  CHECK(loss == Approx(std::log(2.0)).epsilon(1e-6));
  CHECK(double(gradient(0, 0)) * double(n) == Approx(0.5).epsilon(1e-6));
  CHECK(comet::softmax_cross_entropy(z, classes, comet::no_gradient) == loss);
  const std::vector<std::int32_t> few = {1, 0};
  const Matrix<float> logits = comet::test::random_matrix<float>(3, 4, 1);
  Matrix<float> part(3, 2);
  CHECK(comet::softmax_cross_entropy(logits.middleCols(1, 2), few, part) ==
        comet::softmax_cross_entropy(2 * logits.middleCols(1, 2) - logits.middleCols(1, 2), few,
                                     comet::no_gradient));
}

TEST_CASE("label smoothing is the cross-entropy against a softer target", "[gradient]") {
  const double a = 0.2;
  const comet::Matrix<double> z = comet::test::random_matrix<double>(4, 5, 3, -3, 3);
  const std::vector<std::int32_t> classes = {1, 0, 3, 2, 2};
  comet::Matrix<double> gradient(4, 5), none(4, 5), zero(4, 5);
  const double loss = comet::softmax_cross_entropy(z, classes, gradient, {.label_smoothing = a});
  double expected = 0;
  for (comet::Index b = 0; b < 5; ++b) {
    const double sum = z.col(b).array().exp().sum();
    for (comet::Index c = 0; c < 4; ++c) {
      const double target = (c == classes[std::size_t(b)] ? 1 - a : 0.0) + a / 4;
      expected -= target * (z(c, b) - std::log(sum)) / 5;
      CHECK(gradient(c, b) == Approx((std::exp(z(c, b)) / sum - target) / 5).margin(1e-15));
    }
  }
  CHECK(loss == Approx(expected).epsilon(1e-14));
  CHECK(comet::softmax_cross_entropy(z, classes, comet::no_gradient, {.label_smoothing = a}) ==
        Approx(loss).epsilon(1e-14));
  CHECK(comet::softmax_cross_entropy(z, classes, none) ==
        comet::softmax_cross_entropy(z, classes, zero, {.label_smoothing = 0}));
  CHECK(comet::test::same_bits(none, zero));
  CHECK_THROWS_WITH(comet::softmax_cross_entropy(z, classes, none, {.label_smoothing = 1}),
                    "comet::softmax_cross_entropy: label_smoothing is 1, expected in [0, 1)");
}

TEST_CASE("a million classes and a million samples, in float too") {
  const Eigen::Index many = 1'000'000;
  Matrix<float> z = Matrix<float>::Constant(many, 1, -0.1F), gradient(many, 1);
  z(5, 0) = 0;
  const std::vector<std::int32_t> one = {5};
  const double sum = 1 + (double(many) - 1) * std::exp(-0.1);
  CHECK(comet::softmax_cross_entropy(z, one, comet::no_gradient) ==
        Approx(std::log(sum)).epsilon(1e-5));
  CHECK(comet::softmax_cross_entropy(z, one, gradient) == Approx(std::log(sum)).epsilon(1e-5));
  CHECK(gradient(0, 0) == Approx(std::exp(-0.1) / sum).epsilon(1e-4));
  const std::vector<std::int32_t> zeros(std::size_t(many), 0);
  CHECK(comet::softmax_cross_entropy(Matrix<float>::Zero(2, many), zeros, comet::no_gradient) ==
        Approx(std::log(2.0)).epsilon(1e-7));
}

TEST_CASE("the derivative may take the place of the logits") {
  const std::vector<std::int32_t> classes = {2, 0, 3};
  const Matrix<double> z = comet::test::random_matrix<double>(4, 3, 1, -2, 2);
  for (const double smoothing : {0.0, 0.1}) {
    Matrix<double> gradient(4, 3), in_place = z;
    const double loss =
        comet::softmax_cross_entropy(z, classes, gradient, {.label_smoothing = smoothing});
    CHECK(comet::softmax_cross_entropy(in_place, classes, in_place,
                                       {.label_smoothing = smoothing}) == loss);
    CHECK(in_place == gradient);
  }
}
