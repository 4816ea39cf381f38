// SPDX-License-Identifier: MIT
#include <bert/model/study_data.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <utility>

#include <comet/core/random.hpp>
#include <comet/io/tensor_file.hpp>

#include <bert/data/vocabulary.hpp>
#include <bert/model/model_file.hpp>
#include <bert/model/weights.hpp>
#include <programs/base/file_error.hpp>
#include <programs/base/fingerprint.hpp>
#include <programs/base/places.hpp>

namespace programs::bert {
namespace {

/// Some of the rows, in their order.
void keep(Rows& rows, std::int64_t most, comet::RandomKey key) {
  if (most == 0 || rows.examples.size() <= std::size_t(most)) return;
  std::vector<std::size_t> order(rows.examples.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  key.shuffle(std::span(order));
  order.resize(std::size_t(most));
  std::sort(order.begin(), order.end());
  std::vector<Example> examples;
  for (const std::size_t i : order) examples.push_back(std::move(rows.examples[i]));
  rows.examples = std::move(examples);
}

void check_length(const TrainOptions& options, const BertConfig& config) {
  if (options.max_length > config.positions)
    throw std::invalid_argument("--max-length is " + std::to_string(options.max_length) +
                                ", expected at most the " + std::to_string(config.positions) +
                                " positions of the model");
}

Bert<float> read_pretrained(const TrainOptions& options, Index labels) {
  const std::filesystem::path folder = options.pretrained;
  BertConfig config = read_config(folder / "config.json");
  check_length(options, config);
  config.labels = labels;
  const comet::TensorFile file(folder / "model.safetensors");
  check_sizes(file, config);
  Bert<float> model(config);
  const comet::RandomKey key(static_cast<std::uint64_t>(options.seed));
  draw_classifier(model, key.fold(places::model));
  (void)load_pretrained(file, model);
  return model;
}

ModelFile teacher_file(const TrainOptions& options) {
  expect_teacher(options);
  const std::string name = teacher_of(options);
  ModelFile file(name);
  if (file.options().distils) throw FileError(name, "is a student, expected a teacher");
  if (file.options().task != options.task)
    throw FileError(name,
                    "is a teacher of " + file.options().task + ", expected one of " + options.task);
  check_length(options, file.config());
  return file;
}

/// A model that is never told which of two texts a token is of cannot tell them apart.
void check_pairs(const Task& task, const BertConfig& config) {
  if (task.second && config.types < 2)
    throw std::invalid_argument("--task is " + std::string(task.name) +
                                ", whose rows are pairs, and the model's type_vocab_size is 1");
}

std::int64_t num_tokens(const Rows& rows) {
  std::int64_t sum = 0;
  for (const Encoded& sentence : rows.sentences) sum += sentence.size();
  return sum;
}

}  // namespace

LabelledBatch Rows::gather(std::span<const std::int32_t> which, TokenId padding) const {
  LabelledBatch batch{bert::gather(sentences, which, padding), {}};
  for (const std::int32_t row : which) batch.labels.push_back(examples[std::size_t(row)].label);
  return batch;
}

BertConfig StudyData::whole_config() const {
  BertConfig config = model->config();
  config.vocab = words.cols();
  return config;
}

std::vector<std::int64_t> StudyData::piece_frequency() const {
  std::vector<std::int64_t> frequency(std::size_t(model->config().vocab), 0);
  for (const Encoded& sentence : train.sentences)
    for (const TokenId id : sentence.ids) ++frequency[std::size_t(id)];
  return frequency;
}

void expect_vocabulary(const ModelFile& file, const TrainOptions& options, const StudyData& data) {
  // Files of before do not say it.
  if (!file.vocabulary().empty() && file.vocabulary() != data.vocabulary)
    throw FileError(file.path(), "is a model of other pieces, or in another order, than those of " +
                                     vocabulary_file(options.pretrained).string());
}

StudyData load_task(const TrainOptions& options, const BertConfig& config) {
  check_length(options, config);
  StudyData data;
  data.task = &task_named(options.task);
  check_pairs(*data.task, config);
  data.source = options.task;
  const Tokenizer tokenizer(read_vocabulary(options.pretrained, config.vocab));
  data.vocabulary = fingerprint_of(tokenizer.vocabulary());
  data.padding = tokenizer.vocabulary().padding();
  data.train.examples = read_split(*data.task, options.data, "train");
  data.dev.examples = read_split(*data.task, options.data, "dev");
  const comet::RandomKey key(static_cast<std::uint64_t>(options.split_seed.value_or(options.seed)));
  keep(data.train, options.train_rows, key.fold(places::data));
  for (Rows* rows : {&data.train, &data.dev})
    rows->sentences = encode(*data.task, rows->examples, tokenizer, options.max_length);
  return data;
}

StudyData load(const TrainOptions& options) {
  const Index labels = task_named(options.task).num_labels();
  std::optional<ModelFile> teacher;
  if (options.distils) teacher.emplace(teacher_file(options));
  const Bert<float> model = teacher ? teacher->model() : read_pretrained(options, labels);
  StudyData data = load_task(options, model.config());
  if (teacher) expect_vocabulary(*teacher, options, data);
  auto pieces = std::make_shared<UsedPieces>(model.config().vocab, data.padding);
  for (const Rows* rows : {&data.train, &data.dev}) pieces->add(rows->sentences);
  pieces->number();
  for (Rows* rows : {&data.train, &data.dev}) pieces->renumber(rows->sentences);
  data.padding = pieces->new_number(data.padding);
  data.words = model.word;
  data.model = std::make_shared<const Bert<float>>(pieces->cut(model));
  data.pieces = std::move(pieces);
  if (options.distils &&
      TeacherAnswers::bytes(model.config(), data.train.sentences) <= TeacherAnswers::max_bytes)
    data.answers = std::make_shared<TeacherAnswers>(data.model, data.train.sentences, data.padding);
  return data;
}

void check_inputs(const TrainOptions& options) {
  if (options.distils) (void)teacher_file(options);
}

void check(const TrainOptions& options, const StudyData& data) {
  check_units(options, data.model->config().intermediate);
}

std::string fingerprint_of(const StudyData& data) {
  Fingerprint print;
  for (const Rows* rows : {&data.train, &data.dev})
    for (std::size_t i = 0; i < rows->sentences.size(); ++i) {
      print.add(std::span<const TokenId>(rows->sentences[i].ids));
      print.add(std::span<const double>(&rows->examples[i].label, 1));
    }
  if (data.model)
    comet::for_each_parameter(*data.model, [&](const comet::ParameterName&, const auto& p) {
      print.add(std::span<const float>(p.data(), std::size_t(p.size())));
    });
  return print.text();
}

Json counts_of(const StudyData& data) {
  return {{"training rows", data.train.size()},
          {"tokens", num_tokens(data.train)},
          {"dev rows", data.dev.size()}};
}

}  // namespace programs::bert
