// SPDX-License-Identifier: MIT
#include <bert/model/bert_task.hpp>

#include <bert/model/evaluation.hpp>

namespace programs::bert {

BertTask::BertTask(Model& model, const Model* teacher, const StudyData& data,
                   const Objective& objective, Index batch_size)
    : model_(&model),
      teacher_(teacher),
      data_(&data),
      objective_(objective),
      batch_size_(batch_size),
      num_batches_(std::size_t((data.train.size() + batch_size - 1) / batch_size)) {}

void BertTask::shuffle(comet::RandomKey epoch_key) {
  batches_ = shuffled_batches(data_->train.sentences, batch_size_, epoch_key);
  start_ = end_ = Clock::now();
  tokens_ = 0;
}

TrainingLoss BertTask::accumulate_gradients(std::size_t b, comet::RandomKey key,
                                            comet::GradientView<float> gradients) {
  const LabelledBatch batch = data_->train.gather(batches_.at(b), data_->padding);
  const LossTerms terms =
      teacher_ != nullptr && data_->answers
          ? bert::accumulate_gradients<float>(*model_, data_->answers->gather(batches_.at(b)),
                                              batch, objective_, key, gradients)
          : bert::accumulate_gradients<float>(*model_, teacher_, batch, objective_, key, gradients);
  routings_ = routings_of(*model_, batch.sentences);
  tokens_ += batch.tokens();
  end_ = Clock::now();
  TrainingLoss loss{
      .total = terms.total, .parts = {{"task", terms.task}}, .penalty = terms.penalty};
  if (teacher_ != nullptr) {
    loss.parts.push_back({"hidden_error", terms.hidden});
    loss.parts.push_back({"divergence", terms.symmetric});
  }
  return loss;
}

Figures BertTask::validate() {
  Figures figures = evaluate(*model_, teacher_, *data_, data_->dev, batch_size_);
  const double seconds = std::chrono::duration<double>(end_ - start_).count();
  // None if it goes on from the epoch's last step.
  if (tokens_ > 0)
    figures.measures.push_back(
        {.name = "trained_tokens_per_second", .value = double(tokens_) / seconds});
  return figures;
}

}  // namespace programs::bert
