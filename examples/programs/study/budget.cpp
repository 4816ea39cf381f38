// SPDX-License-Identifier: MIT
#include <programs/study/budget.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <stdexcept>
#include <tuple>

#include <programs/base/kinds.hpp>
#include <programs/base/text_table.hpp>

namespace programs {
namespace {

constexpr double confidence = 0.95;

/// "comet", "comet, relaxed".
std::string name_of(const BudgetGroup& group) {
  return group.local_search == no_search ? group.gate : group.gate + ", " + group.local_search;
}

std::vector<Score> resampled(std::span<const Score> scores, comet::RandomKey key) {
  std::vector<Score> result;
  for (std::size_t i = 0; i < scores.size(); ++i)
    result.push_back(scores[static_cast<std::size_t>(key.index(i, scores.size()))]);
  return result;
}

/// The element of a sorted list below which a share of them lies.
Factor quantile(const std::vector<Factor>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  return sorted[static_cast<std::size_t>(std::lround(place))];
}

Saving saving_of(const BudgetGroup& without, const BudgetGroup& with, std::optional<int> budget,
                 std::optional<double> target, int resamples, comet::RandomKey key) {
  const auto target_of = [&](const std::vector<double>& curve) {
    return target ? *target : curve[static_cast<std::size_t>(*budget - 1)];
  };
  Saving result;
  result.gate = with.gate;
  result.local_search = with.local_search;
  result.budget = budget;
  result.target = target_of(without.curve);
  result.without = trials_to_reach(without.curve, result.target);
  result.with = trials_to_reach(with.curve, result.target);
  result.factor = saving(without.curve, with.curve, result.target);
  std::vector<Factor> factors;
  for (int i = 0; i < resamples; ++i) {
    const comet::RandomKey draw = key.fold(i);
    const auto curve_without = expected_best(resampled(without.scores, draw.fold(0)));
    const auto curve_with = expected_best(resampled(with.scores, draw.fold(1)));
    if (const auto factor = saving(curve_without, curve_with, target_of(curve_without)))
      factors.push_back(*factor);
  }
  if (factors.empty()) return result;
  std::sort(factors.begin(), factors.end(), [](const Factor& a, const Factor& b) {
    return std::tie(a.value, a.kind) < std::tie(b.value, b.kind);
  });
  result.low = quantile(factors, (1 - confidence) / 2);
  result.high = quantile(factors, (1 + confidence) / 2);
  return result;
}

Json to_json(const std::optional<double>& value) { return value ? Json(*value) : Json(); }

Json to_json(const std::optional<Factor>& factor) {
  if (!factor) return {};
  const char* kind = factor->kind == Factor::Kind::exact     ? "exact"
                     : factor->kind == Factor::Kind::at_most ? "at most"
                                                             : "at least";
  return {{"value", factor->value}, {"kind", kind}};
}

std::string text_of(const std::optional<Factor>& factor) {
  if (!factor) return "-";
  const char* sign = factor->kind == Factor::Kind::exact     ? ""
                     : factor->kind == Factor::Kind::at_most ? "<= "
                                                             : ">= ";
  return sign + formatted("%.2f", factor->value);
}

std::string text_of(const std::optional<double>& trials) {
  return trials ? formatted("%.1f", *trials) : "not reached";
}

}  // namespace

std::vector<double> expected_best(std::vector<Score> scores) {
  std::stable_sort(scores.begin(), scores.end(), [](const Score& a, const Score& b) {
    return a.validation_loss < b.validation_loss;
  });
  const std::size_t count = scores.size();
  std::vector<double> curve(count, 0);
  for (std::size_t m = 1; m <= count; ++m) {
    // Of rank r + 1: all ranks before it are among the N - m trials not drawn, and it is drawn.
    double probability = static_cast<double>(m) / static_cast<double>(count);
    for (std::size_t r = 0; r + m <= count; ++r) {
      if (r > 0)
        probability *= static_cast<double>(count - r + 1 - m) / static_cast<double>(count - r);
      curve[m - 1] += probability * scores[r].test_loss;
    }
  }
  return curve;
}

std::optional<double> trials_to_reach(std::span<const double> curve, double target) {
  const auto first =
      std::find_if(curve.begin(), curve.end(), [&](double loss) { return loss <= target; });
  if (first == curve.end()) return std::nullopt;
  const auto trials = static_cast<double>(first - curve.begin() + 1);
  if (first == curve.begin()) return trials;
  const double before = *(first - 1);
  if (std::isinf(before)) return trials;
  return trials - (target - *first) / (before - *first);
}

std::optional<Factor> saving(std::span<const double> without, std::span<const double> with,
                             double target) {
  const auto trials_without = trials_to_reach(without, target);
  const auto trials_with = trials_to_reach(with, target);
  if (trials_without && trials_with) return Factor{*trials_without / *trials_with};
  if (trials_without)
    return Factor{*trials_without / static_cast<double>(with.size()), Factor::Kind::at_most};
  if (trials_with)
    return Factor{static_cast<double>(without.size()) / *trials_with, Factor::Kind::at_least};
  return std::nullopt;
}

std::vector<BudgetGroup> budget_groups(std::span<const Trial> trials) {
  std::vector<BudgetGroup> groups;
  std::set<std::string> seen;
  for (const Trial& trial : trials) {
    const auto refuse = [&](const std::string& reason) {
      throw std::invalid_argument("trial " + std::to_string(trial.number) + " of " + trial.gate() +
                                  " " + reason);
    };
    if (trial.rung) refuse("is from a search with --halving, whose trials are no random sample");
    if (trial.source != trials.front().source)
      refuse("is of the data " + trial.source + ", the first one of " + trials.front().source);
    for (const char* name : {"split_seed", "task_weights", "epochs"}) {
      const Json value = trial.options.value(name, Json());
      const Json first = trials.front().options.value(name, Json());
      if (value != first)
        refuse(std::string("has ") + name + " " + value.dump() + ", the first one " + first.dump() +
               ": their losses cannot be compared");
    }
    if (!seen.insert(trial.options.dump()).second) refuse("comes twice");
    auto group = std::find_if(groups.begin(), groups.end(), [&](const BudgetGroup& each) {
      return each.gate == trial.gate() && each.local_search == trial.local_search();
    });
    if (group == groups.end()) {
      groups.push_back({trial.gate(), trial.local_search(), {}, {}});
      group = groups.end() - 1;
    }
    group->scores.push_back({trial.validation_loss, trial.test_loss});
  }
  for (BudgetGroup& group : groups) group.curve = expected_best(group.scores);
  return groups;
}

std::vector<Saving> savings(std::span<const BudgetGroup> groups, std::optional<double> target,
                            int resamples, comet::RandomKey key) {
  std::vector<Saving> result;
  for (const BudgetGroup& with : groups) {
    const auto without = std::find_if(groups.begin(), groups.end(), [&](const BudgetGroup& each) {
      return each.gate == with.gate && each.local_search == no_search;
    });
    if (with.local_search == no_search || without == groups.end()) continue;
    if (target) {
      result.push_back(saving_of(*without, with, std::nullopt, target, resamples, key));
      continue;
    }
    const auto all = static_cast<int>(without->scores.size());
    for (const int budget : std::set<int>{std::max(1, all / 4), std::max(1, all / 2), all})
      result.push_back(saving_of(*without, with, budget, std::nullopt, resamples, key));
  }
  return result;
}

Json to_json(std::span<const BudgetGroup> groups, std::span<const Saving> savings) {
  Json curves = Json::array();
  for (const BudgetGroup& group : groups)
    curves.push_back({{"gate", group.gate},
                      {"local_search", group.local_search},
                      {"trials", group.scores.size()},
                      {"expected_best_test_loss", group.curve}});
  Json list = Json::array();
  for (const Saving& s : savings)
    list.push_back({{"gate", s.gate},
                    {"local_search", s.local_search},
                    {"budget_without", s.budget ? Json(*s.budget) : Json()},
                    {"target", s.target},
                    {"trials_without", to_json(s.without)},
                    {"trials_with", to_json(s.with)},
                    {"factor", to_json(s.factor)},
                    {"low", to_json(s.low)},
                    {"high", to_json(s.high)}});
  return {{"curves", curves}, {"savings", list}, {"confidence", confidence}};
}

std::string curve_table(std::span<const BudgetGroup> groups) {
  std::set<std::size_t> budgets;
  for (const BudgetGroup& group : groups) {
    budgets.insert(group.curve.size());
    for (std::size_t decade = 1; decade <= group.curve.size(); decade *= 10)
      for (const std::size_t m : {decade, 2 * decade, 5 * decade})
        if (m <= group.curve.size()) budgets.insert(m);
  }
  Cells cells = {{"trials"}};
  for (const BudgetGroup& group : groups) cells.front().push_back(name_of(group));
  for (const std::size_t m : budgets) {
    cells.push_back({std::to_string(m)});
    for (const BudgetGroup& group : groups)
      cells.back().push_back(m <= group.curve.size() ? formatted("%.4f", group.curve[m - 1]) : "");
  }
  return text_table(cells, 0);
}

std::string saving_table(std::span<const Saving> savings) {
  Cells cells = {{"gate", "local search", "test loss", "trials without", "trials with", "factor",
                  "95 % interval"}};
  for (const Saving& s : savings)
    cells.push_back({s.gate, s.local_search, formatted("%.4f", s.target), text_of(s.without),
                     text_of(s.with), text_of(s.factor),
                     s.low ? text_of(s.low) + " to " + text_of(s.high) : "-"});
  return text_table(cells, 2);
}

}  // namespace programs
