// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstddef>
#include <numeric>
#include <set>
#include <span>
#include <vector>

#include <comet/core/pass.hpp>
#include <comet/gates/softmax.hpp>

#include <bert/model/moefy.hpp>
#include <bert/model/network.hpp>
#include <examples/bert/golden_bert.hpp>
#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::Json;
using programs::bert::Bert;
using programs::bert::LabelledBatch;

namespace {

const Json& the_case() {
  static const Json cases = test::golden("bert_importance.json");
  return cases.front();
}

/// The golden batch cut in two.
std::vector<LabelledBatch> in_two(const LabelledBatch& batch) {
  const Index half = batch.size() / 2;
  const auto part = [&](Index first, Index count) {
    const auto take = [&](const auto& from) {
      return programs::bert::TokenMatrix(from.middleCols(first, count));
    };
    const auto& [ids, types, mask] = batch.sentences;
    const auto labels = batch.labels.begin() + first;
    return LabelledBatch{{take(ids), take(types), take(mask)}, {labels, labels + count}};
  };
  return {part(0, half), part(half, batch.size() - half)};
}

template <class S>
typename programs::bert::Mixture<S>::Gate even_gate(Index experts) {
  SoftmaxGate<S> gate({.input_dim = 12, .num_experts = experts}, RandomKey(0));
  for_each_parameter(gate, [](const ParameterName&, auto& p) { p.setZero(); });
  return typename programs::bert::Mixture<S>::Gate(AnyGate<S>(gate));
}

template <class S>
Matrix<S> predicted(const MlpExpert<S>& expert, const Matrix<S>& x) {
  Matrix<S> y(expert.output_dim(), x.cols()), cache(expert.cache_dim(), x.cols());
  expert.predict(x, y, cache);
  return y;
}

}  // namespace

TEMPLATE_TEST_CASE("importance matches the reference", "[golden]", COMET_TEST_SCALARS) {
  using S = TestType;
  const Json& c = the_case();
  const auto model = test::bert_of<S>(c.at("config"), c.at("params"));
  const LabelledBatch batch = test::batch_of(c);
  const Matrix<double> expected = test::matrix(c.at("importance"));
  const auto at_once = programs::bert::importance<S>(model, std::vector{batch});
  CHECK(test::relative_error(at_once, expected) <= test::bert_tolerance<S>);
  // Of sentences, not of batches.
  CHECK(test::relative_error(programs::bert::importance<S>(model, in_two(batch)), expected) <=
        test::bert_tolerance<S>);
}

TEST_CASE("a dense layer becomes the experts of the reference", "[golden]") {
  const Json& c = the_case();
  const auto model = test::bert_of<double>(c.at("config"), c.at("params"));
  const Matrix<double> importance = test::matrix(c.at("importance"));
  const Matrix<double> x = test::matrix(c.at("x"));
  for (const Json& split : c.at("upcycled")) {
    const UpcycleOptions options{
        .num_experts = split.at("n"), .shared = split.at("shared"), .own = split.at("own")};
    CAPTURE(options.num_experts, options.shared, options.own);
    const auto student = programs::bert::moefied<double>(
        model, options, importance, [&](Index) { return even_gate<double>(options.num_experts); });
    for (std::size_t l = 0; l < student.layers.size(); ++l) {
      CHECK(!student.layers[l].block);
      const auto& experts = student.layers[l].mixture->layer().experts();
      const Matrix<double> expected = test::matrix(split.at("layers")[l].at("outputs"));
      REQUIRE(Index(experts.size()) == options.num_experts);
      for (Index i = 0; i < options.num_experts; ++i)
        CHECK(test::relative_error(predicted(experts[std::size_t(i)], x),
                                   expected.middleCols(i * x.cols(), x.cols())) <= 1e-9);
    }
  }
  for (const Json& split : c.at("refused"))
    CHECK_THROWS_AS(
        programs::bert::moefied<double>(
            model,
            {.num_experts = split.at("n"), .shared = split.at("shared"), .own = split.at("own")},
            importance, [](Index) { return even_gate<double>(4); }),
        std::invalid_argument);
}

TEST_CASE("what has all units is what it was") {
  const Json& c = the_case();
  const auto model = test::bert_of<double>(c.at("config"), c.at("params"));
  const LabelledBatch batch = test::batch_of(c);
  const Matrix<double> importance = test::matrix(c.at("importance"));
  const auto expected = programs::bert::activations(model, batch).logits;
  const auto close = [&](const Bert<double>& other) {
    return test::relative_error(programs::bert::activations(other, batch).logits, expected) < 1e-12;
  };
  CHECK(close(programs::bert::pruned(model, model.config().intermediate, importance)));
  const auto student = programs::bert::moefied<double>(
      model, {.num_experts = 3, .shared = model.config().intermediate}, importance,
      [](Index) { return even_gate<double>(3); });
  CHECK(close(student));
  CHECK(close(Bert<double>(student)));

  const auto half = programs::bert::pruned(model, 12, importance);
  CHECK(half.config().intermediate == 12);
  CHECK(!close(half));
  CHECK_THROWS_AS(programs::bert::pruned(model, 25, importance), std::invalid_argument);
  CHECK_THROWS_AS(programs::bert::importance<double>(student, std::vector{batch}),
                  std::invalid_argument);
}
