// SPDX-License-Identifier: MIT
#include <movielens/model/reasons.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include <comet/gates/capabilities.hpp>
#include <comet/inference/explain.hpp>

#include <programs/base/text_table.hpp>

namespace programs::movielens {
namespace {

constexpr std::size_t most_others = 64;
constexpr std::size_t most_experts = 3;  // of a line
constexpr std::array<const char*, Model::num_tasks> names = {"watched", "stars"};

std::string compared(double here, double others) {
  return formatted("%.0f %% (others %.0f %%)", 100 * here, 100 * others);
}

/// "expert 3 61 % (others 22 %), expert 1 39 % (others 40 %)", largest weights first.
std::string experts_line(const std::vector<double>& here, const std::vector<double>& others) {
  std::vector<std::size_t> order(here.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return here[a] > here[b]; });
  std::string text;
  for (std::size_t i = 0; i < std::min(most_experts, order.size()); ++i) {
    const std::size_t expert = order[i];
    if (here[expert] == 0) break;
    text += (i > 0 ? ", expert " : " expert ") + std::to_string(expert) + ' ' +
            compared(here[expert], others[expert]);
  }
  return text.empty() ? " no expert" : text;
}

/// The largest difference so far, in words.
struct Difference {
  double size = -1;
  std::string text;

  void take(double here, double others, const std::string& what) {
    if (std::abs(here - others) <= size) return;
    size = std::abs(here - others);
    text = what + ' ' + compared(here, others);
  }
};

}  // namespace

Reasons::Reasons(const Model& model, std::int32_t user, std::span<const std::int32_t> others)
    : model_(model), user_(user), pass_(model) {
  const std::size_t count = std::min(most_others, others.size());
  std::array<std::map<Split, double>, Model::num_tasks> visits;
  for (Task& task : typical_) task.weight.assign(std::size_t(model.mixture().num_experts()), 0.0);
  for (std::size_t i = 0; i < count; ++i) {
    const Tasks tasks = tasks_of(others[i * others.size() / count]);
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      for (std::size_t expert = 0; expert < tasks[t].weight.size(); ++expert)
        typical_[t].weight[expert] += tasks[t].weight[expert] / double(count);
      for (const auto& [split, left] : tasks[t].left) {
        typical_[t].left[split] += left;
        visits[t][split] += 1;
      }
    }
  }
  for (std::size_t t = 0; t < typical_.size(); ++t)
    for (auto& [split, left] : typical_[t].left) left /= visits[t][split];
}

Reasons::Tasks Reasons::tasks_of(std::int32_t item) {
  const std::int32_t users[] = {user_};
  const std::int32_t items[] = {item};
  (void)model_.predict(users, items, pass_);
  Tasks tasks;
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    const auto weights = pass_.workspace.routing(Index(t)).dense(model_.mixture().num_experts());
    tasks[t].weight.assign(weights.data(), weights.data() + weights.size());
    const Model::Gate& gate = model_.gates()[t];
    if (!gate.capabilities().explains) continue;
    const auto explanation = comet::explain(gate, model_.features(users, items));
    for (const auto& node : explanation.nodes)
      if (!node.is_leaf) tasks[t].left[{node.tree, node.number}] = double(node.left);
  }
  return tasks;
}

std::array<std::string, 3> Reasons::of(std::int32_t item) {
  const Tasks tasks = tasks_of(item);
  std::array<std::string, 3> lines;
  Difference splits, experts;
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    const std::string task = names[t];
    lines[t] = task + ':' + experts_line(tasks[t].weight, typical_[t].weight);
    for (std::size_t expert = 0; expert < tasks[t].weight.size(); ++expert)
      experts.take(tasks[t].weight[expert], typical_[t].weight[expert],
                   task + ", expert " + std::to_string(expert) + ':');
    for (const auto& [split, left] : tasks[t].left)
      if (const auto other = typical_[t].left.find(split); other != typical_[t].left.end())
        splits.take(left, other->second,
                    task + ", tree " + std::to_string(split.first) + ", split " +
                        std::to_string(split.second) + ": left");
  }
  lines.back() = "apart: " + (splits.size > 0 ? splits.text : experts.text);
  return lines;
}

}  // namespace programs::movielens
