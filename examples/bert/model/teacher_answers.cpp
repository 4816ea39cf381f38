// SPDX-License-Identifier: MIT
#include <bert/model/teacher_answers.hpp>

#include <algorithm>
#include <utility>

#include <bert/data/batches.hpp>

namespace programs::bert {

TeacherAnswers::TeacherAnswers(std::shared_ptr<const Bert<float>> teacher,
                               std::vector<Encoded> sentences, TokenId padding)
    : teacher_(std::move(teacher)),
      sentences_(std::move(sentences)),
      padding_(padding),
      batches_(sorted_batches(sentences_, 32)),
      batch_of_row_(sentences_.size()),
      answers_(sentences_.size()) {
  for (std::size_t b = 0; b < batches_.size(); ++b)
    for (const std::int32_t row : batches_[b]) batch_of_row_[std::size_t(row)] = b;
}

std::size_t TeacherAnswers::bytes(const BertConfig& teacher, std::span<const Encoded> sentences) {
  std::size_t tokens = 0;
  for (const Encoded& sentence : sentences) tokens += std::size_t(sentence.size());
  return tokens * std::size_t(teacher.hidden * (teacher.layers + 1)) * sizeof(float);
}

Answers<float> TeacherAnswers::gather(std::span<const std::int32_t> which) {
  const std::lock_guard lock(mutex_);
  Index length = 0;
  for (const std::int32_t row : which) {
    if (answers_[std::size_t(row)].hidden.empty()) ask(batches_[batch_of_row_[std::size_t(row)]]);
    length = std::max(length, sentences_[std::size_t(row)].size());
  }
  const BertConfig& config = teacher_->config();
  Answers<float> result;
  result.hidden.assign(std::size_t(config.layers) + 1,
                       comet::Matrix<float>::Zero(config.hidden, length * Index(which.size())));
  result.logits.resize(config.labels, Index(which.size()));
  for (Index i = 0; i < Index(which.size()); ++i) {
    const Answer& answer = answers_[std::size_t(which[std::size_t(i)])];
    for (std::size_t l = 0; l < result.hidden.size(); ++l)
      result.hidden[l].middleCols(i * length, answer.hidden[l].cols()) = answer.hidden[l];
    result.logits.col(i) = answer.logits;
  }
  return result;
}

void TeacherAnswers::ask(const std::vector<std::int32_t>& rows) {
  const LabelledBatch batch{bert::gather(sentences_, rows, padding_), {}};
  const Activations<float> said = activations(*teacher_, batch);
  for (Index i = 0; i < Index(rows.size()); ++i) {
    const auto row = std::size_t(rows[std::size_t(i)]);
    Answer& answer = answers_[row];
    for (const comet::Matrix<float>& hidden : said.hidden)
      answer.hidden.emplace_back(hidden.middleCols(i * batch.length(), sentences_[row].size()));
    answer.logits = said.logits.col(i);
  }
}

}  // namespace programs::bert
