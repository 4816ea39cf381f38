// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <comet/core/gradients.hpp>

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

template <class S>
void check_matrix(const Matrix<S>& actual, const Json& expected, const std::string& what) {
  CAPTURE(what);
  CHECK(test::relative_error(actual, test::matrix(expected)) <= test::bert_tolerance<S>);
}

template <class S>
void check_forward(const Json& c) {
  const auto model = test::bert_of<S>(c.at("config"), c.at("params"));
  const LabelledBatch batch = test::batch_of(c);
  const auto got = programs::bert::activations(model, batch, true);
  REQUIRE(got.hidden.size() == c.at("hidden_states").size());
  for (std::size_t i = 0; i < got.hidden.size(); ++i)
    check_matrix(got.hidden[i], c.at("hidden_states")[i], "hidden state " + std::to_string(i));
  for (std::size_t i = 0; i < got.attention.size(); ++i)
    check_matrix(got.attention[i], c.at("attention_output")[i], "attention " + std::to_string(i));
  if (c.contains("attention_probabilities"))
    for (std::size_t i = 0; i < got.attention.size(); ++i)
      check_matrix(got.attention_probabilities[i], c.at("attention_probabilities")[i],
                   "probabilities " + std::to_string(i));
  check_matrix(got.pooled, c.at("pooled"), "pooled");
  check_matrix(got.logits, c.at("logits"), "logits");
}

template <class S>
void check_backward(const Json& c) {
  auto model = test::bert_of<S>(c.at("config"), c.at("params"));
  Gradients gradients(model);
  const auto terms = programs::bert::accumulate_gradients<S>(model, nullptr, test::batch_of(c), {},
                                                             RandomKey(0), gradients.view());
  CHECK(terms.total == Approx(c.at("loss").get<double>()).epsilon(test::bert_tolerance<S>));
  CHECK(terms.task == terms.total);
  Index i = 0;
  for_each_parameter(model, [&](const ParameterName& name, const auto&) {
    // Keys' biases shift all logits of a query alike: their gradient is rounding alone.
    const Matrix<S> gradient = gradients[i++];
    if (name.str().ends_with("key.bias")) return;
    check_matrix(gradient, c.at("grads").at(name.str()), name.str());
  });
}

}  // namespace

TEMPLATE_TEST_CASE("a BERT matches the reference", "[golden]", COMET_TEST_SCALARS) {
  for (const char* file : {"bert_forward.json", "bert_forward_edges.json"})
    for (const Json& c : test::golden(file)) {
      CAPTURE(file, c.at("title").get<std::string>());
      check_forward<TestType>(c);
      check_backward<TestType>(c);
    }
}
