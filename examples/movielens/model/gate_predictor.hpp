// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <iomanip>
#include <ostream>
#include <span>
#include <sstream>
#include <utility>
#include <vector>

#include <comet/core/thread_pool.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/comet.hpp>
#include <comet/inference/explain.hpp>
#include <comet/local_search/permuted_gate.hpp>

#include <movielens/model/evaluation.hpp>
#include <movielens/model/model.hpp>
#include <movielens/model/predictor.hpp>

namespace movielens {

template <class Gate>
class GatePredictor : public Predictor {
 public:
  GatePredictor(const ModelFile& file, TwoTaskModel<Gate> model)
      : options_(file.options()), model_(std::move(model)), workspace_(&pool_) {
    file.load(model_);
  }

  Predictions predict(const TwoTaskRows& rows) override {
    Evaluator<Gate> evaluator(rows, batch_size);
    evaluator.predict(model_, workspace_);
    return predictions_of(evaluator);
  }

  Figures evaluate(const TwoTaskRows& rows, Predictions& predictions) override {
    Evaluator<Gate> evaluator(rows, batch_size);
    const TaskWeights weights{.watched = options_.task_weights[0],
                              .rating = options_.task_weights[1]};
    Figures figures = evaluator.evaluate(model_, weights, workspace_);
    predictions = predictions_of(evaluator);
    return figures;
  }

  void explain(std::int32_t user, std::int32_t item, std::ostream& out) override {
    const std::int32_t users[] = {user};
    const std::int32_t items[] = {item};
    (void)model_.predict(users, items, workspace_);
    const char* tasks[] = {"watched", "stars"};
    for (std::size_t task = 0; task < TwoTaskModel<Gate>::num_tasks; ++task) {
      const auto& routing = workspace_.mixture().routing(Index(task));
      std::ostringstream text;
      text << std::setprecision(3);
      text << tasks[task] << ':';
      for (std::size_t i = 0; i < routing.experts().size(); ++i)
        text << (i > 0 ? "," : "") << " expert " << routing.experts()[i] << " with weight "
             << routing.weights()[i];
      text << '\n';
      explain_splits(model_.mixture().gates()[task], model_.features(users, items), text);
      out << text.str();
    }
  }

 private:
  static constexpr std::size_t batch_size = 512;

  /// The path through each tree, if the gate has trees.
  static void explain_splits(const Gate& gate, const Matrix<float>& x, std::ostream& out) {
    if constexpr (std::same_as<Gate, comet::PermutedGate<comet::AnyGate<float>>>) {
      const auto* trees = gate.gate().template get_if<comet::CometGate<float>>();
      if (trees == nullptr) return;
      comet::PermutedGate<comet::CometGate<float>> permuted(*trees);
      permuted.set_permutations(gate.permutations());
      out << comet::explain(permuted, x);
    }
  }

  static Predictions predictions_of(const Evaluator<Gate>& evaluator) {
    const auto list = [](std::span<const double> values) {
      return std::vector<double>(values.begin(), values.end());
    };
    return {.logits = list(evaluator.logits()), .stars = list(evaluator.stars())};
  }

  TrainOptions options_;
  comet::ThreadPool pool_;
  TwoTaskModel<Gate> model_;
  typename TwoTaskModel<Gate>::Workspace workspace_;
};

}  // namespace movielens
