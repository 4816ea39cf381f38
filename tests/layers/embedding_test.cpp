// SPDX-License-Identifier: MIT
#include <vector>

#include <comet/layers/embedding.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

TEST_CASE("an embedding looks vectors up, into a block if need be") {
  const Embedding<float> embedding({.num_ids = 5, .output_dim = 3}, RandomKey(1));
  CHECK(embedding.vectors().cwiseAbs().maxCoeff() <= 0.05F);
  CHECK(embedding.vectors().cwiseAbs().maxCoeff() > 0.03F);
  const std::vector<std::int32_t> ids{4, 0, 4, 2};
  Matrix<float> y = Matrix<float>::Constant(7, 4, 9);
  embedding.forward(ids, y.middleRows(2, 3));
  for (Index b = 0; b < 4; ++b)
    CHECK(y.col(b).segment(2, 3) == embedding.vectors().col(ids[std::size_t(b)]));
  CHECK((y.topRows(2).array() == 9.0F).all());
  CHECK((y.bottomRows(2).array() == 9.0F).all());
  Matrix<float> none(3, 0);
  embedding.forward({}, none);
}

TEST_CASE("an embedding's gradients agree with finite differences, repeated ids too",
          "[gradient]") {
  Embedding<double> embedding({.num_ids = 6, .output_dim = 3}, RandomKey(1));
  const std::vector<std::int32_t> ids{4, 0, 4, 2, 4};
  const Matrix<double> upstream = random_matrix<double>(3, 5, 2);
  Matrix<double> y(3, 5);
  Pass pass(embedding);
  const auto result = testing::check_gradients(
      embedding,
      [&] {
        embedding.forward(ids, y);
        return y.cwiseAbs2().cwiseProduct(upstream).sum();
      },
      [&](GradientView<double> gradients) {
        embedding.forward(ids, y);
        pass.borrow(gradients);
        embedding.backward(ids, 2 * y.cwiseProduct(upstream), pass);
      });
  CHECK(result.largest_error <= 1e-6);
  CHECK(result.num_checked == 18);
  Pass own(embedding);
  embedding.backward(ids, upstream, own);
  CHECK(test::gradient(embedding, own, "weight").col(1).isZero(0));
  CHECK(test::gradient(embedding, own, "weight").col(0) == upstream.col(1));
  CHECK(test::gradient(embedding, own, "weight")
            .col(4)
            .isApprox(upstream.col(0) + upstream.col(2) + upstream.col(4)));
}

TEST_CASE("vectors of several ids a sample stand one below the other", "[gradient]") {
  Embedding<double> embedding({.num_ids = 6, .output_dim = 2}, RandomKey(1));
  const std::vector<std::int32_t> ids{4, 0, 4, 2, 3, 1};  // three of each of two samples
  Matrix<double> y(6, 2);
  embedding.forward(ids, y);
  for (Index b = 0; b < 2; ++b)
    for (Index i = 0; i < 3; ++i)
      CHECK(y.col(b).segment(2 * i, 2) == embedding.vectors().col(ids[std::size_t(3 * b + i)]));
  // The same as an id a column, which has the same memory.
  Matrix<double> flat(2, 6);
  embedding.forward(ids, flat);
  CHECK(test::same_bits(Matrix<double>(flat.reshaped(6, 2)), y));
  const Matrix<double> dy = random_matrix<double>(6, 2, 3);
  Pass pass(embedding), flat_pass(embedding);
  embedding.backward(ids, dy, pass);
  embedding.backward(ids, Matrix<double>(dy.reshaped(2, 6)), flat_pass);
  CHECK(test::same_bits(test::gradients_of(embedding, pass),
                        test::gradients_of(embedding, flat_pass)));
  CHECK_THROWS_WITH(embedding.forward(std::span(ids).first(5), y),
                    "comet::Embedding::forward: ids.size() is 5, expected 3 y.cols() = 6");
  Matrix<double> odd(5, 3);
  CHECK_THROWS_WITH(embedding.backward(ids, odd, pass),
                    "comet::Embedding::backward: dy.rows() is 5, expected 2 output_dim = 4");
}

TEST_CASE("an embedding refuses ids it does not have, and wrong shapes") {
  CHECK_THROWS_WITH(Embedding<float>({.num_ids = 0, .output_dim = 1}, RandomKey(0)),
                    "comet::Embedding: num_ids is 0, expected at least 1");
  CHECK_THROWS_WITH(Embedding<float>({.num_ids = 1, .output_dim = 0}, RandomKey(0)),
                    "comet::Embedding: output_dim is 0, expected at least 1");
  const Embedding<float> embedding({.num_ids = 5, .output_dim = 3}, RandomKey(1));
  Pass pass(embedding);
  Matrix<float> y = Matrix<float>::Zero(3, 2), tall(4, 2);
  const std::vector<std::int32_t> high{0, 5}, low{-1, 0}, good{0, 1}, three{0, 1, 2};
  CHECK_THROWS_WITH(embedding.forward(high, y),
                    "comet::Embedding::forward: ids[1] is 5, expected in 0..4");
  CHECK_THROWS_WITH(embedding.forward(low, y),
                    "comet::Embedding::forward: ids[0] is -1, expected in 0..4");
  CHECK_THROWS_WITH(embedding.backward(high, y, pass),
                    "comet::Embedding::backward: ids[1] is 5, expected in 0..4");
  CHECK_THROWS_WITH(embedding.forward(good, tall),
                    "comet::Embedding::forward: y.rows() is 4, expected output_dim = 3");
  CHECK_THROWS_WITH(embedding.forward(three, y),
                    "comet::Embedding::forward: y.cols() is 2, expected ids.size() = 3");
  CHECK_THROWS_WITH(embedding.backward(good, tall, pass),
                    "comet::Embedding::backward: dy.rows() is 4, expected output_dim = 3");
  CHECK_THROWS_WITH(embedding.backward(three, y, pass),
                    "comet::Embedding::backward: dy.cols() is 2, expected ids.size() = 3");
  for (const float g : test::gradients_of(embedding, pass)) CHECK(g == 0.0F);
}
