// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>

#include <bert/model/bert.hpp>
#include <bert/model/study_data.hpp>
#include <bert/model/train_options.hpp>

namespace programs::bert {

/// \brief The gate of a layer of a student.
/// \param frequency  of the vocabulary's pieces
[[nodiscard]] Mixture<float>::Gate gate_of_layer(const TrainOptions& options, Index layer,
                                                 Index hidden,
                                                 std::span<const std::int64_t> frequency);

/// \brief The model that a training starts with: the pretrained one with a new classifier, or a
/// student made of its teacher.
[[nodiscard]] Bert<float> start_model(const TrainOptions& options, const StudyData& data);

/// \brief A student of the same build, whose numbers are in a file.
/// \param config  of its teacher
[[nodiscard]] Bert<float> empty_student(const TrainOptions& options, const BertConfig& config);

}  // namespace programs::bert
