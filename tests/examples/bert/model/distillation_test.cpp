// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/gates/comet.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/optimizers/clip_by_global_norm.hpp>

#include <bert/model/network.hpp>
#include <bert/model/optimizer.hpp>
#include <examples/bert/golden_bert.hpp>
#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::Json;
using programs::bert::Bert;
using programs::bert::LabelledBatch;
using programs::bert::LossTerms;
using programs::bert::Objective;

namespace {

const std::vector<std::string> files = {"bert_distillation_k1.json", "bert_distillation_k2.json"};

template <class S>
void take(Parameter<S>& to, const Matrix<S>& from) {
  REQUIRE(from.size() == to.size());
  std::copy_n(from.data(), from.size(), to.data());
}

/// The golden parameter, or part of one, that a tensor of ours is.
template <class S>
Matrix<S> golden_of(const Json& params, const std::string& name, Index n) {
  const auto at = name.find("moe.");
  if (at == std::string::npos) return test::matrix<S>(params.at(name));
  const std::string layer = name.substr(0, at);
  const std::string rest = name.substr(at + 4);
  const std::string leaf = rest.substr(rest.find('.', rest.find('.') + 1) + 1);
  if (rest.starts_with("gates.")) {
    std::string of_gate = leaf;
    std::replace(of_gate.begin(), of_gate.end(), '.', '_');
    const Matrix<S> given = test::matrix<S>(params.at(layer + "gate." + of_gate));
    return leaf.ends_with("bias") ? Matrix<S>(given.reshaped()) : given;  // ours are columns
  }
  const Index expert = std::stoi(rest.substr(8));
  const std::string of_expert =
      std::string(leaf.ends_with("weight") ? "w" : "b") + (leaf.starts_with("hidden") ? "1" : "2");
  const Matrix<S> all = test::matrix<S>(params.at(layer + "moe." + of_expert));
  const Index size = all.cols() / n;
  return all.middleCols(expert * size, size);
}

template <class S>
Bert<S> student_of(const Json& c) {
  using Mixture = programs::bert::Mixture<S>;
  Bert<S> student(test::config_of(c.at("config")));
  const Index n = c.at("n"), d = student.config().hidden;
  for (auto& layer : student.layers) {
    layer.block.reset();
    CometGate<S> gate({.input_dim = d,
                       .num_experts = n,
                       .k = c.at("k"),
                       .gamma = c.at("gamma"),
                       .entropy = c.at("entropy_strength")},
                      RandomKey(0));
    std::vector<MlpExpert<S>> experts(std::size_t(n), MlpExpert<S>({.input_dim = d,
                                                                    .hidden_dim = c.at("width"),
                                                                    .output_dim = d,
                                                                    .activation = Activation::gelu},
                                                                   RandomKey(0)));
    layer.mixture.emplace(typename Mixture::Layer(
        {typename Mixture::Gate(AnyGate<S>(std::move(gate)))}, std::move(experts)));
  }
  for_each_parameter(student, [&](const ParameterName& name, Parameter<S>& parameter) {
    take(parameter, golden_of<S>(c.at("student"), name.str(), n));
  });
  return student;
}

Objective objective_of(const Json& c) { return {.lambda = c.at("lambda")}; }

template <class S>
Adam<S> optimizer_of(const Json& c, const Bert<S>& model, const Schedule& rate) {
  const Json& o = c.at("adamw");
  return Adam<S>(model, {.learning_rate = rate,
                         .beta1 = o.at("beta1"),
                         .beta2 = o.at("beta2"),
                         .epsilon = o.at("epsilon"),
                         .weight_decay = o.at("weight_decay").get<double>(),
                         .groups = programs::bert::undecayed()});
}

/// Relative to the largest entry of a tensor, or of all where the reference has rounding alone.
template <class S>
bool is_close(const Matrix<S>& actual, const Matrix<double>& expected, double tolerance) {
  if (expected.cwiseAbs().maxCoeff() < 1e-14)
    return double(actual.cwiseAbs().maxCoeff()) < tolerance;
  return test::relative_error(actual, expected) <= tolerance;
}

}  // namespace

TEMPLATE_TEST_CASE("a student matches the reference", "[golden]", COMET_TEST_SCALARS) {
  using S = TestType;
  for (const std::string& file : files) {
    CAPTURE(file);
    const Json c = test::golden(file).front();
    const Bert<S> student = student_of<S>(c);
    const LabelledBatch batch = test::batch_of(c);
    const auto got = programs::bert::activations(student, batch);
    // Padding is routed nowhere: what is said of it is nobody's business.
    for (std::size_t i = 0; i < got.hidden.size(); ++i)
      CHECK(test::relative_error(test::real(got.hidden[i], batch),
                                 test::real(test::matrix(c.at("hidden_states")[i]), batch)) <=
            test::bert_tolerance<S>);
    CHECK(test::relative_error(got.logits, test::matrix(c.at("logits"))) <=
          test::bert_tolerance<S>);
    for (std::size_t l = 0; l < student.layers.size(); ++l) {
      const auto& routing = student.layers[l].mixture->pass().workspace.routing();
      const Matrix<double> weights = test::matrix(c.at("gate_weights")[l]);
      const auto live = test::numbers<Index>(c.at("live_experts")[l]);
      CHECK(test::relative_error(test::real(routing.dense(c.at("n")), batch),
                                 test::real(weights, batch)) <= test::bert_tolerance<S>);
      for (Index token = 0; token < weights.cols(); ++token)
        CHECK(Index(routing.experts(token).size()) ==
              (batch.sentences.mask.data()[token] != 0 ? live[std::size_t(token)] : Index(0)));
    }
  }
}

TEMPLATE_TEST_CASE("distillation matches the reference", "[golden]", COMET_TEST_SCALARS) {
  using S = TestType;
  for (const std::string& file : files) {
    CAPTURE(file);
    const Json c = test::golden(file).front();
    Bert<S> student = student_of<S>(c);
    const auto teacher = test::bert_of<S>(c.at("config"), c.at("teacher"));
    const LabelledBatch batch = test::batch_of(c);
    Gradients gradients(student);
    const LossTerms terms = programs::bert::accumulate_gradients<S>(
        student, &teacher, batch, objective_of(c), RandomKey(0), gradients.view());
    const auto is = [&](const char* name, double factor = 1) {
      return Approx(factor * c.at("terms").at(name).get<double>()).epsilon(test::bert_tolerance<S>);
    };
    CHECK(terms.task == is("cross_entropy"));
    CHECK(terms.hidden == is("hidden_mse"));
    CHECK(terms.symmetric == is("symmetric_kl"));
    CHECK(terms.penalty == is("entropy", c.at("entropy_strength")));
    CHECK(terms.total == is("total"));
    const auto judged = programs::bert::judge<S>(student, &teacher, batch);
    CHECK(judged.terms.hidden == is("hidden_mse"));
    CHECK(judged.terms.symmetric == is("symmetric_kl"));
    Index i = 0;
    for_each_parameter(student, [&](const ParameterName& name, const auto&) {
      CAPTURE(name.str());
      const Matrix<S> gradient = gradients[i++];
      CHECK(is_close<S>(gradient, golden_of<double>(c.at("grads"), name.str(), c.at("n")),
                        test::bert_tolerance<S>));
    });
  }
}

TEST_CASE("a step of AdamW matches the reference", "[golden]") {
  for (const std::string& file : files) {
    CAPTURE(file);
    const Json c = test::golden(file).front();
    const Json& o = c.at("adamw");
    Bert<double> student = student_of<double>(c);
    const auto teacher = test::bert_of<double>(c.at("config"), c.at("teacher"));
    Gradients gradients(student);
    auto optimizer = optimizer_of(c, student, o.at("learning_rate").get<double>());
    programs::bert::accumulate_gradients<double>(student, &teacher, test::batch_of(c),
                                                 objective_of(c), RandomKey(0), gradients.view());
    CHECK(clip_by_global_norm(gradients, o.at("clip_norm")) ==
          Approx(o.at("gradient_norm").get<double>()).epsilon(1e-9));
    optimizer.step(student, gradients);
    for_each_parameter(student, [&](const ParameterName& name, const auto& parameter) {
      CAPTURE(name.str());
      // A gradient that is rounding alone (keys' biases) is as large as any to Adam.
      if (name.str().ends_with("key.bias")) return;
      CHECK(test::relative_error(parameter, golden_of<double>(c.at("after_one_step"), name.str(),
                                                              c.at("n"))) <= 1e-8);
    });
  }
}

TEST_CASE("ten steps by the schedule match the reference", "[golden]") {
  for (const std::string& file : files) {
    CAPTURE(file);
    const Json c = test::golden(file).front();
    const Json& o = c.at("adamw");
    const Json& schedule = c.at("schedule");
    Bert<double> student = student_of<double>(c);
    const auto teacher = test::bert_of<double>(c.at("config"), c.at("teacher"));
    const LabelledBatch batch = test::batch_of(c);
    Gradients gradients(student);
    const Schedule rate = programs::bert::learning_rate(
        o.at("learning_rate"), schedule.at("warmup_steps"), schedule.at("total_steps"));
    auto optimizer = optimizer_of(c, student, rate);
    for (const Json& step : schedule.at("run")) {
      const Index s = step.at("step");
      CAPTURE(s);
      CHECK(rate(s + 1) ==
            Approx(o.at("learning_rate").get<double>() * step.at("factor").get<double>()));
      const LossTerms terms = programs::bert::accumulate_gradients<double>(
          student, &teacher, batch, objective_of(c), RandomKey(0), gradients.view());
      CHECK(terms.total == Approx(step.at("total").get<double>()).epsilon(1e-7));
      CHECK(clip_by_global_norm(gradients, o.at("clip_norm")) ==
            Approx(step.at("gradient_norm").get<double>()).epsilon(1e-6));
      optimizer.step(student, gradients);
    }
    for_each_parameter(student, [&](const ParameterName& name, const auto& parameter) {
      if (name.str().find("moe.") != std::string::npos || name.str().ends_with("key.bias")) return;
      CAPTURE(name.str());
      CHECK(parameter.squaredNorm() ==
            Approx(schedule.at("sum_of_squares_after").at(name.str()).template get<double>())
                .epsilon(1e-7));
    });
  }
}

namespace {

/// The same student, its gates asked about sentences.
Bert<double> by_sentence(const Bert<double>& student) {
  using Mixture = programs::bert::Mixture<double>;
  Bert<double> result = student;
  for (auto& layer : result.layers) {
    const auto& mixture = layer.mixture->layer();
    AnyGate<double> gate(Mixture::OfSentences(mixture.gates().front().gate()));
    layer.mixture.emplace(
        Mixture::Layer({Mixture::Gate(std::move(gate))}, std::vector(mixture.experts())));
  }
  return result;
}

/// The sentence alone, without padding.
LabelledBatch alone(const LabelledBatch& batch, Index sentence) {
  const Index length = batch.sentences.mask.col(sentence).sum();
  const auto cut = [&](const programs::bert::TokenMatrix& tokens) {
    return programs::bert::TokenMatrix(tokens.col(sentence).head(length));
  };
  return {{cut(batch.sentences.ids), cut(batch.sentences.types), cut(batch.sentences.mask)},
          {batch.labels[std::size_t(sentence)]}};
}

}  // namespace

TEST_CASE("a student by sentence: a sentence is the same in any batch") {
  const Json c = test::golden(files.front()).front();
  const Bert<double> tokens = student_of<double>(c), student = by_sentence(tokens);
  const LabelledBatch batch = test::batch_of(c);
  REQUIRE(batch.tokens() < batch.size() * batch.length());
  const Matrix<double> together = programs::bert::activations(student, batch).logits;
  CHECK((together - programs::bert::activations(tokens, batch).logits).norm() > 1e-6);
  for (Index i = 0; i < batch.size(); ++i) {
    const Matrix<double> apart = programs::bert::activations(student, alone(batch, i)).logits;
    CHECK((together.col(i) - apart).norm() <= 1e-12 * together.norm());
    const auto& routing = student.layers.front().mixture->pass().workspace.routing();
    for (Index t = 1; t < routing.num_samples(); ++t)
      CHECK(test::relative_error(routing.dense(c.at("n")).col(t).eval(),
                                 routing.dense(c.at("n")).col(0).eval()) == 0);
  }
}

TEST_CASE("a student by sentence: its gradient is the slope in a direction", "[gradient]") {
  const Json c = test::golden(files.front()).front();
  Bert<double> student = by_sentence(student_of<double>(c));
  const auto teacher = test::bert_of<double>(c.at("config"), c.at("teacher"));
  const LabelledBatch batch = test::batch_of(c);
  Gradients gradients(student), unused(student);
  const auto loss = [&](Gradients<double>& to) {
    return programs::bert::accumulate_gradients<double>(student, &teacher, batch, objective_of(c),
                                                        RandomKey(0), to.view())
        .total;
  };
  (void)loss(gradients);
  std::vector<Matrix<double>> direction;
  double slope = 0;
  Index i = 0;
  for_each_parameter(student, [&](const ParameterName&, const auto& parameter) {
    direction.push_back(Matrix<double>::Random(parameter.rows(), parameter.cols()));
    slope += gradients[i++].cwiseProduct(direction.back()).sum();
  });
  const auto moved = [&](double step) {
    std::size_t at = 0;
    for_each_parameter(student, [&](const ParameterName&, auto& parameter) {
      parameter += step * direction[at++];
    });
    return loss(unused);
  };
  constexpr double step = 1e-6;
  const double above = moved(step);
  const double below = moved(-2 * step);
  CHECK((above - below) / (2 * step) == Approx(slope).epsilon(1e-5));
}
