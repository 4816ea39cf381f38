// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/random.hpp>

#include <bert/model/network.hpp>
#include <bert/model/teacher_answers.hpp>
#include <examples/bert/golden_bert.hpp>
#include <support/catch.hpp>
#include <support/golden.hpp>

using namespace comet;
using programs::bert::Answers;
using programs::bert::Bert;
using programs::bert::Encoded;
using programs::bert::LabelledBatch;
using programs::bert::TeacherAnswers;

namespace {

constexpr programs::bert::TokenId padding = 0;

std::shared_ptr<const Bert<float>> small_teacher() {
  const test::Json c = test::golden("bert_distillation_k1.json").front();
  return std::make_shared<const Bert<float>>(test::bert_of<float>(c.at("config"), c.at("teacher")));
}

/// More than are asked at once, of 1 to `longest` tokens.
std::vector<Encoded> sentences_of(const Bert<float>& teacher, std::size_t longest = 6) {
  std::vector<Encoded> sentences(70);
  for (std::size_t i = 0; i < sentences.size(); ++i)
    for (std::size_t t = 0; t <= i * 7 % longest; ++t) {
      sentences[i].ids.push_back(
          programs::bert::TokenId(1 + (i * 5 + t * 3) % std::size_t(teacher.config().vocab - 1)));
      sentences[i].types.push_back(0);
    }
  return sentences;
}

}  // namespace

TEST_CASE("what a teacher has said is what it says") {
  const auto teacher = small_teacher();
  const std::vector<Encoded> sentences = sentences_of(*teacher);
  TeacherAnswers answers(teacher, sentences, padding);
  const std::vector<std::int32_t> rows = {3, 68, 0, 17, 3};
  const Answers<float> said = answers.gather(rows);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::int32_t row = rows[i];
    const auto alone = programs::bert::activations(
        *teacher, LabelledBatch{programs::bert::gather(sentences, {&row, 1}, padding), {}});
    const Index length = said.hidden.front().cols() / Index(rows.size());
    const Index tokens = sentences[std::size_t(row)].size();
    REQUIRE(tokens <= length);
    REQUIRE(said.hidden.size() == alone.hidden.size());
    for (std::size_t l = 0; l < said.hidden.size(); ++l) {
      const auto ours = said.hidden[l].middleCols(Index(i) * length, length);
      CHECK((ours.leftCols(tokens) - alone.hidden[l]).norm() <= 1e-5F * alone.hidden[l].norm());
      CHECK(ours.rightCols(length - tokens).isZero(0));
    }
    CHECK((said.logits.col(Index(i)) - alone.logits).norm() <= 1e-5F * alone.logits.norm());
  }
}

TEST_CASE("an answer has the same bits, whoever asked first") {
  // Large enough for the last bits of an answer to depend on the other rows of a batch.
  Bert<float> large({.vocab = 50,
                     .hidden = 48,
                     .layers = 2,
                     .heads = 4,
                     .intermediate = 96,
                     .positions = 64,
                     .types = 2,
                     .labels = 2});
  programs::bert::draw_weights(large, RandomKey(3));
  const auto teacher = std::make_shared<const Bert<float>>(large);
  const std::vector<Encoded> sentences = sentences_of(*teacher, 41);
  const std::vector<std::int32_t> rows = {41, 2, 69}, others = {5, 69, 30, 12};
  const auto activations = [&](const std::vector<std::int32_t>& which) {
    return programs::bert::activations(
        *teacher, LabelledBatch{programs::bert::gather(sentences, which, padding), {}});
  };
  REQUIRE(activations(rows).logits.col(2) != activations(others).logits.col(1));  // row 69

  TeacherAnswers first(teacher, sentences, padding), second(teacher, sentences, padding);
  const Answers<float> early = first.gather(rows), other = second.gather(others);
  CHECK(early.logits.col(2) == other.logits.col(1));
  const Answers<float> late = second.gather(rows);
  CHECK(early.logits == late.logits);
  CHECK(early.hidden == late.hidden);
  CHECK(first.gather(rows).hidden == early.hidden);
}

TEST_CASE("a student learns the same from what a teacher has said") {
  const test::Json c = test::golden("bert_distillation_k1.json").front();
  const auto teacher = test::bert_of<double>(c.at("config"), c.at("teacher"));
  Bert<double> student = teacher;
  student.layers.front().block->intermediate.weight *= 0.9;
  const LabelledBatch batch = test::batch_of(c);
  const auto activations = programs::bert::activations(teacher, batch);
  Answers<double> said{activations.hidden, activations.logits};
  Gradients asked(student), told(student);
  const auto a = programs::bert::accumulate_gradients<double>(
      student, &teacher, batch, {.lambda = 2}, RandomKey(1), asked.view());
  const auto b = programs::bert::accumulate_gradients<double>(student, said, batch, {.lambda = 2},
                                                              RandomKey(1), told.view());
  CHECK(a.hidden > 0);
  CHECK(a.total == b.total);
  for (Index i = 0; i < asked.view().size(); ++i) CHECK(asked[i] == told[i]);

  said.hidden.pop_back();
  CHECK_THROWS_WITH(
      programs::bert::accumulate_gradients<double>(student, said, batch, {.lambda = 2},
                                                   RandomKey(1), told.view()),
      "comet::accumulate_gradients: teacher.hidden.size() is 2, expected the student's hidden "
      "states = 3");
}

TEST_CASE("what answers take is known beforehand") {
  const auto teacher = small_teacher();
  const auto& config = teacher->config();
  std::vector<Encoded> sentences(2);
  sentences[0].ids = {1, 2, 3};
  sentences[1].ids = {4};
  CHECK(TeacherAnswers::bytes(config, sentences) ==
        4 * std::size_t(config.hidden) * std::size_t(config.layers + 1) * 4);
}
