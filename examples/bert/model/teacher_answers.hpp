// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include <comet/core/types.hpp>

#include <bert/model/batch.hpp>
#include <bert/model/bert.hpp>
#include <bert/model/network.hpp>

namespace programs::bert {

/// \brief What a teacher says of rows that it is asked about again and again, in every epoch and by
/// every student: computed once, which saves a student a quarter of its training.
///
/// Rows are put to the teacher in batches that depend on the rows alone, so an answer has the same
/// bits whoever asks first. May be asked by several threads.
class TeacherAnswers {
 public:
  /// \param padding  the piece of it
  TeacherAnswers(std::shared_ptr<const Bert<float>> teacher, std::vector<Encoded> sentences,
                 TokenId padding);

  /// What the answers of all rows take. \see max_bytes
  [[nodiscard]] static std::size_t bytes(const BertConfig& teacher,
                                         std::span<const Encoded> sentences);
  /// More is not worth keeping: 3 GiB, 300,000 tokens of a model of 6 layers and 384 features.
  static constexpr std::size_t max_bytes = std::size_t(3) << 30U;

  /// Of some rows, padded to the longest of them: hidden states of padding are 0.
  [[nodiscard]] Answers<float> gather(std::span<const std::int32_t> which);

 private:
  struct Answer {
    std::vector<comet::Matrix<float>> hidden;  ///< of each layer, hidden x tokens
    comet::Vector<float> logits;
  };

  void ask(const std::vector<std::int32_t>& rows);

  std::shared_ptr<const Bert<float>> teacher_;
  std::vector<Encoded> sentences_;
  TokenId padding_;
  std::vector<std::vector<std::int32_t>> batches_;
  std::vector<std::size_t> batch_of_row_;
  std::vector<Answer> answers_;  ///< of rows, empty as long as nobody has asked
  std::mutex mutex_;
};

}  // namespace programs::bert
