// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <bert/model/config.hpp>
#include <programs/base/common_options.hpp>
#include <programs/base/json.hpp>
#include <programs/base/option.hpp>

namespace programs::bert {

/// \brief All that a training run is a function of, and where it goes: of a teacher, or of a
/// student of one.
struct TrainOptions : CommonOptions {
  TrainOptions();

  bool distils = false;            ///< trains a student
  std::string data = "data/glue";  ///< folder of tasks
  std::string task = "CoLA";
  std::string pretrained = "data/minilm";  ///< folder of a model
  Index max_length = 128;                  ///< tokens of a sentence
  std::int64_t train_rows = 0;             ///< 0 for all
  double dropout = .1;
  double warm_up = .06;  ///< share of the steps
  double weight_decay = .01;
  double clip_norm = 1;

  // Of students.
  std::string teacher;  ///< file of its model
  Index num_experts = 4;
  Index shared = 256;            ///< units that all experts have
  Index own = 128;               ///< that each has for itself
  std::string route_by;          ///< what a gate is asked about
  double lambda = 2;             ///< weight of what the teacher says
  double importance_share = .1;  ///< of the training rows, which say what units matter
  Index units = 0;               ///< of dense_wide
};

/// Of a teacher: the dense model on a task.
struct FinetuneOptions : TrainOptions {
  FinetuneOptions();
};
/// Of a student.
struct DistilOptions : TrainOptions {
  DistilOptions();
};

inline constexpr const char* teacher_row = "teacher";  ///< of a table: the dense model, finetuned

inline constexpr const char* by_token = "token";
/// The mean of its tokens, all of which go the same way (MoEBERT).
inline constexpr const char* by_sentence = "sentence";

// Dense students beside the gates of the library.
inline constexpr const char* dense = "dense";            ///< all units, trained on
inline constexpr const char* dense_half = "dense_half";  ///< the units that any expert has
inline constexpr const char* dense_one = "dense_one";    ///< as many as one expert has
inline constexpr const char* dense_wide = "dense_wide";  ///< any number of them

/// What a student may be: a gate of the library, or a dense model.
[[nodiscard]] const std::vector<std::string>& row_names();
[[nodiscard]] bool is_dense(const std::string& row);
/// Whether a gate looks at features, so that it may look at those of sentences.
[[nodiscard]] bool may_route_sentences(const std::string& row);
/// \brief The options of a row of a table that its name says: units, "dense_768", or what a gate is
/// asked about, "top_k_sentence". Null for other names.
[[nodiscard]] Json row_by_name(const std::string& row);
/// The file of the teacher, which may be another one for each seed.
[[nodiscard]] std::string teacher_of(const TrainOptions& options);
/// What a training, or who makes a student, reads or may read, but for a model to start from.
[[nodiscard]] std::vector<std::filesystem::path> files_read(const TrainOptions& options);
/// \throws std::invalid_argument if the options name none
void expect_teacher(const TrainOptions& options);
/// Units of a dense student. \param all  of the teacher
[[nodiscard]] Index dense_units(const TrainOptions& options, Index all);
/// \throws std::invalid_argument if the units that a student is to have are none, or more than the
/// teacher's
void check_units(const TrainOptions& options, Index of_teacher);

/// The one table of them.
[[nodiscard]] OptionTable table_of(TrainOptions& options);

/// Before anything is read or written.
/// \throws std::invalid_argument naming the option, its value and its bound
void check(const TrainOptions& options);

/// Those that the figures depend on.
[[nodiscard]] Json to_json(const TrainOptions& options);

/// What to_json() was given, as far as it says.
/// \throws Json::exception or std::invalid_argument if something is missing or of the wrong kind
[[nodiscard]] TrainOptions options_from(const Json& json);

}  // namespace programs::bert
