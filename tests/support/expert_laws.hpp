// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/core/parameters.hpp>
#include <comet/gates/hash.hpp>
#include <comet/moe_layer.hpp>
#include <comet/testing/gradient_check.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>

/// \file
/// \brief What every expert has to keep, tried inside a layer whose gate goes by a table.

namespace comet::test {

/// A batch of samples whose experts are known: those of even numbers go to expert 0, others to 1.
template <class E>
struct ExpertBatch {
  using S = typename E::Scalar;
  using Layer = MoeLayer<HashGate<S>, E>;

  /// \param n  copies of the expert, the last of which nobody asks
  explicit ExpertBatch(const E& expert, Index n = 3)
      : layer(HashGate<S>({0, 1}, n), std::vector<E>(std::size_t(n), expert)),
        x(random_matrix<S>(expert.input_dim(), 7, 2)),
        dy(random_matrix<S>(expert.output_dim(), 7, 3)) {
    for (Index b = 0; b < x.cols(); ++b) ids.push_back(std::int32_t(b % 2));
  }

  [[nodiscard]] Samples<S> samples() const { return {x, ids}; }
  [[nodiscard]] Matrix<S> predicted() const {
    Matrix<S> y(dy.rows(), dy.cols());
    Pass pass(layer);
    layer.predict(samples(), y, pass);
    return y;
  }

  Layer layer;
  Matrix<S> x, dy;
  std::vector<std::int32_t> ids;
};

/// A sample has the same bits alone and in a batch; a copy gives them too.
template <PredictingExpert E>
void check_prediction_laws(const E& expert) {
  const ExpertBatch<E> batch(expert);
  using S = typename E::Scalar;
  const Matrix<S> y = batch.predicted();
  CHECK(y.allFinite());
  CHECK(same_bits(ExpertBatch<E>(E(expert)).predicted(), y));
  Pass pass(batch.layer);
  Matrix<S> alone(y.rows(), 1);
  for (Index b = 0; b < y.cols(); ++b) {
    batch.layer.predict(Samples<S>(batch.x.col(b), std::span(batch.ids).subspan(std::size_t(b), 1)),
                        alone, pass);
    CHECK(same_bits(alone, y.col(b)));
  }
}

/// Parameters have names of their own and are the same whoever visits; a copy has others.
template <Parametric E>
void check_parameter_laws(const E& expert) {
  E own = expert;
  std::vector<std::pair<std::string, const void*>> found, found_constant;
  for_each_parameter(own, [&](const ParameterName& name, auto& values) {
    found.emplace_back(name.str(), values.data());
    for (std::size_t i = 0; i + 1 < found.size(); ++i) CHECK(found[i].first != name.str());
  });
  for_each_parameter(std::as_const(own), [&](const ParameterName& name, const auto& values) {
    found_constant.emplace_back(name.str(), values.data());
  });
  CHECK(found == found_constant);
  const auto before = values_of(expert);
  for_each_parameter(own, [](const ParameterName&, auto& values) { values.setConstant(7); });
  CHECK(same_bits(values_of(expert), before));
}

/// Gradients are those of differences, and zero for an expert that nobody asks; without dropout
/// training has the bits of predict().
template <TrainableExpert E>
void check_training_laws(const E& expert) {
  static_assert(std::is_same_v<typename E::Scalar, double>, "differences want double");
  ExpertBatch<E> batch(expert);
  Pass pass(batch.layer);
  WithInput model(batch.layer, batch.x);
  Matrix<double> y(batch.dy.rows(), batch.dy.cols());
  const auto forward = [&] {
    batch.layer.forward(Samples<double>(model.x, batch.ids), y, RandomKey(4), pass);
    return y.cwiseProduct(batch.dy).sum();
  };
  forward();
  CHECK(same_bits(y, batch.predicted()));
  const auto result = testing::check_gradients(model, forward, [&](GradientView<double> gradients) {
    forward();
    pass.borrow(model.of_part(gradients));
    batch.layer.backward(Samples<double>(model.x, batch.ids), batch.dy, model.of_input(gradients),
                         pass);
    GradientView<double> rest = model.of_part(gradients);
    for (std::size_t e = 0; e < batch.layer.experts().size(); ++e) {
      bool any = false;
      for (const double g : values_of(rest.next(batch.layer.experts()[e]))) any = any || g != 0;
      CHECK(any == (e < 2 && count_tensors(expert) > 0));
    }
  });
  INFO(result.where << ": " << result.analytic << " against " << result.numeric);
  CHECK(result.largest_error <= 1e-6);
}

/// All laws of an expert that can be trained.
template <TrainableExpert E>
void check_expert_laws(const E& expert) {
  check_prediction_laws(expert);
  check_parameter_laws(expert);
  check_training_laws(expert);
}

}  // namespace comet::test
