// SPDX-License-Identifier: MIT
#include <movielens/model/predictor.hpp>

#include <cstddef>
#include <iomanip>
#include <span>
#include <sstream>

#include <comet/gates/capabilities.hpp>
#include <comet/inference/explain.hpp>

#include <movielens/model/build_model.hpp>
#include <movielens/model/evaluation.hpp>

namespace programs::movielens {
namespace {

Model loaded(const ModelFile& file) {
  // A gate's table is in the file; until it is loaded, every item is as frequent as the others.
  const std::vector<std::int64_t> frequency(std::size_t(file.model().num_items), 0);
  Model model = build_model(file.options(), file.model().num_users, frequency);
  file.load(model);
  return model;
}

Predictions predictions_of(const Evaluator& evaluator) {
  const auto list = [](std::span<const double> values) {
    return std::vector<double>(values.begin(), values.end());
  };
  return {.logits = list(evaluator.logits()), .stars = list(evaluator.stars())};
}

}  // namespace

Predictor::Predictor(const ModelFile& file, comet::Storage storage, int threads)
    : weights_(task_weights(file.options())),
      batch_size_(std::size_t(file.options().batch_size)),
      pool_(threads),
      model_(loaded(file)),
      pass_(model_, &pool_) {
  if (storage != comet::Storage::full) model_.serve(storage);
}

Predictions Predictor::predict(const TwoTaskRows& rows) {
  Evaluator evaluator(rows, batch_size_);
  evaluator.predict(model_, pass_);
  return predictions_of(evaluator);
}

Figures Predictor::evaluate(const TwoTaskRows& rows, Predictions& predictions) {
  Evaluator evaluator(rows, batch_size_);
  Figures figures = evaluator.evaluate(model_, weights_, pass_);
  predictions = predictions_of(evaluator);
  return figures;
}

void Predictor::explain(std::int32_t user, std::int32_t item, std::ostream& out) {
  const std::int32_t users[] = {user};
  const std::int32_t items[] = {item};
  (void)model_.predict(users, items, pass_);
  const char* tasks[] = {"watched", "stars"};
  for (std::size_t task = 0; task < Model::num_tasks; ++task) {
    const auto& routing = pass_.workspace.routing(Index(task));
    const Model::Gate& gate = model_.gates()[task];
    std::ostringstream text;
    text << std::setprecision(3);
    text << tasks[task] << ':';
    for (std::size_t i = 0; i < routing.experts().size(); ++i)
      text << (i > 0 ? "," : "") << " expert " << routing.experts()[i] << " with weight "
           << routing.weights()[i];
    text << '\n';
    if (gate.capabilities().explains) text << comet::explain(gate, model_.features(users, items));
    out << text.str();
  }
}

}  // namespace programs::movielens
