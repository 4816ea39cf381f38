// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <vector>

#include <comet/core/routing.hpp>

#include <bert/model/bert.hpp>
#include <bert/model/study_data.hpp>
#include <programs/base/figures.hpp>

namespace programs::bert {

/// \brief What the mixtures did in their last pass, one a layer, without the rows of padding.
[[nodiscard]] std::vector<comet::Routing<float>> routings_of(const Bert<float>& model,
                                                             const Batch& batch);

/// \brief Multiply-adds of a dense layer for each token, apart from attention's scores: its four
/// maps, and a feed-forward part of so many units.
[[nodiscard]] double dense_cost(const BertConfig& config, Index units);

/// \brief How good a model is on rows: the task's loss and metrics; how far it is from a teacher
/// (`hidden_error`, `divergence`); `multiply_adds` and `tokens_per_second`, the time of the teacher
/// left out; and, as if each layer were a task, what its gate did.
/// \param teacher  may be null
[[nodiscard]] Figures evaluate(const Bert<float>& model, const Bert<float>* teacher,
                               const StudyData& data, const Rows& rows, Index batch_size);

}  // namespace programs::bert
