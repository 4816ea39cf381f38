// SPDX-License-Identifier: MIT
#include <movielens/model/two_task.hpp>

#include <comet/gates/capabilities.hpp>

namespace programs::movielens {
namespace {

auto row(std::span<const float> values) {
  return Eigen::Map<const Matrix<float>>(values.data(), 1, Index(values.size()));
}

}  // namespace

TwoTask::TwoTask(Model& model, const TwoTaskData& data, std::size_t batch_size, TaskWeights weights,
                 comet::ThreadPool* pool)
    : model_(&model),
      data_(&data),
      batch_size_(batch_size),
      weights_(weights),
      pass_(model, pool),
      batches_(data.train, batch_size),
      validation_(data.validation, batch_size) {}

TrainingLoss TwoTask::accumulate_gradients(std::size_t b, RandomKey key,
                                           comet::GradientView<float> gradients) {
  const Batch batch = batches_[b];
  pass_.borrow(gradients);
  const Loss loss = model_->accumulate_gradients(batch.user, batch.item, row(batch.watched),
                                                 row(batch.rating), weights_, key, pass_);
  return {.total = loss.total,
          .parts = {{"bce", loss.watched}, {"mse", loss.rating}},
          .penalty = loss.penalty};
}

void TwoTask::end_of_step() {
  std::vector<Index> load;
  for (std::size_t task = 0; task < Model::num_tasks; ++task) {
    Model::Gate& gate = model_->gates()[task];
    if (!gate.capabilities().loads) continue;
    load.assign(std::size_t(gate.num_experts()), 0);
    for (const comet::ExpertId expert : pass_.workspace.mixture().routing(Index(task)).experts())
      ++load[std::size_t(expert)];
    comet::end_of_step(gate, std::span<const Index>(load), gate_passes()[task]);
  }
}

double TwoTask::experts_per_sample() const {
  double sum = 0;
  for (const auto& routing : pass_.workspace.mixture().routings())
    sum += double(routing.num_entries()) / double(routing.num_samples());
  return sum / double(Model::num_tasks);
}

Figures TwoTask::test() {
  return Evaluator(data_->test, batch_size_).evaluate(*model_, weights_, pass_);
}

}  // namespace programs::movielens
