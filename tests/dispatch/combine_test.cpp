// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include <comet/core/thread_pool.hpp>
#include <comet/dispatch/columns.hpp>
#include <comet/dispatch/combine.hpp>
#include <comet/dispatch/plan.hpp>

#include <support/catch.hpp>
#include <support/fixed_gate.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::Load;
using comet::test::random_matrix;

namespace {

constexpr Index n = 10;  // more entries of a row than combine() adds at once
constexpr Index m = 5;

/// A batch behind its experts: outputs of all pairs, as if experts had run.
template <class S>
struct Batch {
  std::vector<Routing<S>> routings;
  DispatchPlan plan;
  Columns<S> outputs;

  Batch(Load load, Index num_samples, Index tasks, Index multiple) {
    for (Index t = 0; t < tasks; ++t)
      routings.push_back(test::make_routing<S>(load, n, num_samples, RandomKey(7).fold(t)));
    plan.build(view(), n, multiple);
    outputs.shape(m, plan) = random_matrix<S>(m, plan.num_columns(), 1);
    for (Index c = 0; c < plan.num_columns(); ++c)
      if (plan.column_samples()[std::size_t(c)] < 0)
        outputs.matrix().col(c).setConstant(S(std::nan("")));
  }

  [[nodiscard]] std::span<const Routing<S>> view() const { return routings; }

  /// The output of expert e for sample b; it has one if any task weighs it.
  [[nodiscard]] auto output(Index e, Index b) const {
    const auto samples = plan.samples(e);
    const auto at = std::lower_bound(samples.begin(), samples.end(), SampleId(b));
    return outputs.matrix().col(plan.first_column(e) + (at - samples.begin()));
  }
};

template <class S>
void check_batch(Load load, Index num_samples, Index tasks, Index multiple, double tolerance) {
  const Batch<S> batch(load, num_samples, tasks, multiple);
  const Matrix<S> dy = random_matrix<S>(m, tasks * num_samples, 2);
  Matrix<S> expected = Matrix<S>::Zero(m, tasks * num_samples);
  Matrix<S> doutputs = Matrix<S>::Zero(m, batch.plan.num_columns());
  std::vector<std::vector<S>> dweights(static_cast<std::size_t>(tasks));
  for (Index t = 0; t < tasks; ++t) {
    const Routing<S>& routing = batch.routings[std::size_t(t)];
    for (Index b = 0; b < num_samples; ++b)
      for (std::size_t i = 0; i < routing.experts(b).size(); ++i) {
        const S weight = routing.weights(b)[i];
        auto& derivatives = dweights[std::size_t(t)];
        derivatives.push_back(S(0));
        if (weight == S(0)) continue;
        const auto output = batch.output(routing.experts(b)[i], b);
        const Index at = output.data() - batch.outputs.matrix().data();
        expected.col(t * num_samples + b) += weight * output;
        doutputs.col(at / m) += weight * dy.col(t * num_samples + b);
        derivatives.back() = dy.col(t * num_samples + b).dot(output);
      }
  }

  Matrix<S> y = Matrix<S>::Constant(m, tasks * num_samples, S(9));
  combine(batch.outputs, batch.plan, batch.view(), y);
  CHECK(test::relative_error(y, expected) <= tolerance);

  Columns<S> found;
  found.shape(m, batch.plan).setConstant(S(9));
  std::vector<AlignedVector<S>> found_weights(static_cast<std::size_t>(tasks));
  const Matrix<S> given = dy;
  spread(given, batch.plan, batch.view(), batch.outputs, found, std::span(found_weights));
  CHECK(test::same_bits(given, dy));
  CHECK(test::relative_error(found.matrix(), doutputs) <= tolerance);  // padding: 0
  for (std::size_t t = 0; t < std::size_t(tasks); ++t) {
    REQUIRE(found_weights[t].size() == dweights[t].size());
    for (std::size_t i = 0; i < dweights[t].size(); ++i)
      CHECK(double(std::abs(found_weights[t][i] - dweights[t][i])) <= tolerance * 10);
  }

  if (tasks != 1) return;
  // The forms for one task.
  Matrix<S> again = Matrix<S>::Constant(m, num_samples, S(9));
  combine(batch.outputs, batch.plan, batch.routings[0], again);
  CHECK(test::same_bits(again, y));
  Columns<S> doutputs_again;
  AlignedVector<S> dweights_again;
  spread(dy, batch.plan, batch.routings[0], batch.outputs, doutputs_again, dweights_again);
  CHECK(test::same_bits(doutputs_again.matrix(), found.matrix()));
  CHECK(dweights_again == found_weights[0]);
}

}  // namespace

TEMPLATE_TEST_CASE("combine and spread are the formula, for any routing and number of tasks", "",
                   COMET_TEST_SCALARS) {
  const double tolerance = std::is_same_v<TestType, double> ? 1e-13 : 1e-5;
  for (const Load load : {Load::random, Load::skewed, Load::idle, Load::full, Load::empty})
    for (const Index num_samples : {0, 1, 7, 130})
      for (const Index tasks : {1, 2, 3})
        for (const Index multiple : {1, 4}) {
          CAPTURE(int(load), num_samples, tasks, multiple);
          check_batch<TestType>(load, num_samples, tasks, multiple, tolerance);
        }
}

TEST_CASE("combine adds in ascending order of the expert, threads or not") {
  const Index num_samples = 400;
  const Batch<double> batch(Load::random, num_samples, 2, 1);
  Matrix<double> alone(m, 2 * num_samples);
  combine(batch.outputs, batch.plan, batch.view(), alone);
  const Matrix<double> dy = random_matrix<double>(m, 2 * num_samples, 2);
  Columns<double> doutputs;
  std::vector<AlignedVector<double>> dweights(2);
  spread(dy, batch.plan, batch.view(), batch.outputs, doutputs, std::span(dweights));
  ThreadPool pool(4);
  for (int repeat = 0; repeat < 3; ++repeat) {
    Matrix<double> y(m, 2 * num_samples);
    combine(batch.outputs, batch.plan, batch.view(), y, &pool);
    CHECK(test::same_bits(y, alone));
    Columns<double> again;
    std::vector<AlignedVector<double>> weights_again(2);
    spread(dy, batch.plan, batch.view(), batch.outputs, again, std::span(weights_again), &pool);
    CHECK(test::same_bits(again.matrix(), doutputs.matrix()));
    CHECK(weights_again == dweights);
  }
  // 1 - 1 + 2^-60 keeps its last term in this order only.
  Routing<double> row;
  for (ExpertId e = 0; e < 3; ++e) row.push(e, 1.0);
  row.end_sample();
  DispatchPlan plan;
  plan.build(row, 3);
  Columns<double> outputs;
  outputs.shape(1, plan) << 1.0, -1.0, 0x1p-60;
  Matrix<double> y(1, 1);
  combine(outputs, plan, row, y);
  CHECK(y(0, 0) == 0x1p-60);
}

TEST_CASE("a row without entries, or of weight 0 only, gives 0") {
  Routing<double> routing;
  routing.end_sample();
  routing.push(1, 0.0);
  routing.end_sample();
  routing.push(0, 0.0);
  routing.push(2, 2.0);
  routing.end_sample();
  DispatchPlan plan;
  plan.build(routing, 3);
  REQUIRE(plan.num_columns() == 1);
  Columns<double> outputs, doutputs;
  outputs.shape(2, plan) << 3, 4;
  Matrix<double> y = Matrix<double>::Constant(2, 3, 9), expected(2, 3);
  expected << 0, 0, 6,  //
      0, 0, 8;
  combine(outputs, plan, routing, y);
  CHECK(y == expected);
  AlignedVector<double> dweights(7, 9.0);
  Matrix<double> dy = Matrix<double>::Constant(2, 3, std::nan(""));  // nobody looks at these
  dy.col(2) << 1, 10;
  spread(dy, plan, routing, outputs, doutputs, dweights);
  CHECK(doutputs.matrix() == (Matrix<double>(2, 1) << 2, 20).finished());
  CHECK(dweights == AlignedVector<double>{0.0, 0.0, 43.0});
}

TEST_CASE("combine and spread refuse what does not belong together") {
  const Batch<double> batch(Load::full, 7, 2, 1), other(Load::full, 6, 2, 1);
  Matrix<double> y(m, 14), wrong_rows(m + 1, 14), wrong_cols(m, 7);
  CHECK_THROWS_WITH(combine(batch.outputs, batch.plan, batch.view(), wrong_rows),
                    "comet::combine: y.rows() is 6, expected outputs.rows() = 5");
  CHECK_THROWS_WITH(
      combine(batch.outputs, batch.plan, batch.view(), wrong_cols),
      "comet::combine: y.cols() is 7, expected plan.num_tasks() * plan.num_samples() = 14");
  CHECK_THROWS_WITH(combine(other.outputs, batch.plan, batch.view(), y),
                    "comet::combine: outputs.cols() is 60, expected plan.num_columns() = 70");
  CHECK_THROWS_WITH(combine(batch.outputs, batch.plan, batch.routings[0], y),
                    "comet::combine: routings.size() is 1, expected plan.num_tasks() = 2");
  CHECK_THROWS_WITH(combine(batch.outputs, batch.plan, other.view(), y),
                    "comet::combine: routing.num_samples() is 6, expected plan.num_samples() = 7");
  const Batch<double> sparse(Load::empty, 7, 2, 1);
  CHECK_THROWS_WITH(
      combine(batch.outputs, batch.plan, sparse.view(), y),
      "comet::combine: routing.num_entries() is 0, expected that of the plan's routing = 70");
  Columns<double> doutputs;
  std::vector<AlignedVector<double>> dweights(2), few(1);
  CHECK_THROWS_WITH(
      spread(wrong_cols, batch.plan, batch.view(), batch.outputs, doutputs, std::span(dweights)),
      "comet::spread: dy.cols() is 7, expected plan.num_tasks() * "
      "plan.num_samples() = 14");
  CHECK_THROWS_WITH(spread(y, batch.plan, batch.view(), batch.outputs, doutputs, std::span(few)),
                    "comet::spread: dweights.size() is 1, expected routings.size() = 2");
  CHECK_THROWS_WITH(
      MixtureDerivatives<double>(wrong_cols, batch.plan, batch.view(), std::span(dweights)),
      "comet::MixtureDerivatives: dy.cols() is 7, expected plan.num_tasks() * "
      "plan.num_samples() = 14");
  CHECK_THROWS_WITH(
      MixtureDerivatives<double>(y, batch.plan, batch.view(), std::span(few), "OwnLayer::backward"),
      "comet::OwnLayer::backward: dweights.size() is 1, expected routings.size() = 2");

  Columns<double> same = batch.outputs;
  CHECK_THROWS_WITH(spread(y, batch.plan, batch.view(), same, same, std::span(dweights)),
                    "comet::spread: doutputs are the same object as outputs, expected another one");

  // Such columns are not all in their matrix.
  const Matrix<double> x = random_matrix<double>(m, 7, 1);
  Columns<double> gathered, left;
  gather(x, batch.plan, gathered);
  left.leave_in(x, batch.plan);
  for (const Columns<double>* columns : {&gathered, &left}) {
    CHECK_THROWS_WITH(combine(*columns, batch.plan, batch.view(), y),
                      "comet::combine: outputs are read from samples (gather, leave_in), expected "
                      "columns of their own (shape)");
    CHECK_THROWS_WITH(spread(y, batch.plan, batch.view(), *columns, doutputs, std::span(dweights)),
                      ContainsSubstring("comet::spread: outputs are read from samples"));
  }
}
