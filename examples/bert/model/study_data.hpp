// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <bert/data/tasks.hpp>
#include <bert/data/tokenizer.hpp>
#include <bert/model/batch.hpp>
#include <bert/model/bert.hpp>
#include <bert/model/model_file.hpp>
#include <bert/model/teacher_answers.hpp>
#include <bert/model/train_options.hpp>
#include <bert/model/used_pieces.hpp>
#include <programs/base/json.hpp>

namespace programs::bert {

/// \brief Rows of a task, as texts and as a model sees them.
struct Rows {
  std::vector<Example> examples;
  std::vector<Encoded> sentences;

  [[nodiscard]] Index size() const noexcept { return Index(sentences.size()); }
  /// \param which    numbers of rows \param padding  the piece of it
  [[nodiscard]] LabelledBatch gather(std::span<const std::int32_t> which, TokenId padding) const;
};

/// \brief A task, and what a training on it starts from or learns from.
struct StudyData {
  const Task* task = nullptr;
  std::string source;      ///< "CoLA"
  std::string vocabulary;  ///< a fingerprint of the pieces
  Rows train, dev;
  TokenId padding = 0;

  // Of trainings, whose models know the pieces of these rows alone.
  std::shared_ptr<const Bert<float>> model = {};  ///< dense: the pretrained one, or the teacher
  std::shared_ptr<const UsedPieces> pieces = {};
  comet::Matrix<float> words = {};  ///< the table of all pieces
  /// Of the teacher, about the training rows. Null without one, and if they take too much memory.
  std::shared_ptr<TeacherAnswers> answers = {};

  /// A trained model with the whole vocabulary.
  [[nodiscard]] Bert<float> whole(const Bert<float>& trained) const {
    return pieces->whole(trained, words);
  }
  /// Of the dense model with the whole vocabulary.
  [[nodiscard]] BertConfig whole_config() const;

  /// How often the pieces of the vocabulary are in the training rows.
  [[nodiscard]] std::vector<std::int64_t> piece_frequency() const;
};

/// \brief Reads the task and the model of the options.
/// \throws FileError naming the file that is missing, damaged, or does not fit the others
/// \throws std::invalid_argument if sentences may be longer than the model's position table
[[nodiscard]] StudyData load(const TrainOptions& options);
/// \brief The task alone, for a model that is there. \param config  of it, with all pieces
[[nodiscard]] StudyData load_task(const TrainOptions& options, const BertConfig& config);

/// \brief A model reads numbers of pieces: of another vocabulary of the same size they are others.
/// \throws FileError naming the model's file and the vocabulary of the options
void expect_vocabulary(const ModelFile& file, const TrainOptions& options, const StudyData& data);

/// \brief Reads the teacher, if there is to be one: for trainings that come late.
/// \throws FileError and std::invalid_argument as load() does
void check_inputs(const TrainOptions& options);
/// \throws std::invalid_argument if the dense model cannot become what the options ask for
void check(const TrainOptions& options, const StudyData& data);

/// Tells the rows, and the model, from others.
[[nodiscard]] std::string fingerprint_of(const StudyData& data);

/// How many rows and tokens.
[[nodiscard]] Json counts_of(const StudyData& data);

}  // namespace programs::bert
