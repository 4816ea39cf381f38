// SPDX-License-Identifier: MIT
#include <programs/report/plots.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>
#include <numeric>

#include <programs/base/figures.hpp>
#include <programs/base/kinds.hpp>
#include <programs/base/text_table.hpp>
#include <programs/report/plot_parts.hpp>

namespace programs {
namespace {

/// One of the curves of a picture by epoch. \param column  of the data
std::string curve(int column, const char* colour, const std::string& title, bool is_dashed) {
  return formatted("skip 1 using 1:%d with linespoints lw 2%s pt 7 ps 0.6 lc rgb '%s'", column,
                   is_dashed ? " dt 2" : "", colour) +
         (title.empty() ? "" : " title '" + title + "'");
}

Plot loss_plot(std::span<const Json> epochs, const PlotWords& words) {
  Plot plot;
  plot.name = "loss";
  plot.data = "epoch\ttraining loss\tvalidation loss";
  for (const PlotMeasure& part : words.losses) plot.data += "\tvalidation " + part.label;
  plot.data += "\n";
  for (const Json& epoch : epochs) {
    const Json& validation = epoch.at("validation");
    plot.data += epoch.at("epoch").dump() + "\t" + cell(epoch.at("training").at("loss")) + "\t" +
                 cell(validation.at("loss"));
    for (const PlotMeasure& part : words.losses) plot.data += "\t" + cell(validation.at(part.name));
    plot.data += "\n";
  }
  plot.title = "Loss by " + words.epoch;
  plot.commands = "set title " + gnuplot_string(plot.title) + "\n" +
                  epoch_axis(words.epoch, epochs.size(), 0.2) + "set ylabel 'loss" +
                  words.loss_units + "'\nset yrange [0:*]\nset key below\n" + "plot 'loss.tsv' " +
                  curve(2, grey, "training, with penalties", false) + ", '' " +
                  curve(3, blue, "validation", false);
  for (std::size_t i = 0; i < words.losses.size(); ++i)
    plot.commands += ", '' " + curve(4 + static_cast<int>(i), i == 0 ? red : green,
                                     "validation: " + words.losses[i].title, true);
  return plot;
}

Plot score_plot(std::span<const Json> epochs, const PlotWords& words) {
  const PlotMeasure& score = words.score;
  Plot plot;
  plot.name = score.name;
  plot.data = "epoch\tvalidation " + label_of(score.name) + "\n";
  for (const Json& epoch : epochs)
    plot.data +=
        epoch.at("epoch").dump() + "\t" + cell(epoch.at("validation").at(score.name)) + "\n";
  plot.title = score.title + " on the validation rows";
  plot.commands = "set title " + gnuplot_string(plot.title) + "\n" +
                  epoch_axis(words.epoch, epochs.size(), 0.2) + "set ylabel '" + score.label +
                  "'\nunset key\nplot '" + score.name + ".tsv' " + curve(2, blue, "", false);
  return plot;
}

/// A line per expert, a column per epoch.
Plot load_plot(std::span<const Json> epochs, const PlotWords& words, const std::string& name,
               std::size_t task) {
  const auto load = [&](const Json& epoch) -> const Json& {
    return epoch.at("validation").at("load_per_expert").at(task);
  };
  const std::size_t experts = load(epochs.front()).size();
  Plot plot;
  plot.name = "load_" + name;
  for (std::size_t expert = 0; expert < experts; ++expert)
    for (std::size_t e = 0; e < epochs.size(); ++e)
      plot.data += cell(load(epochs[e]).at(expert)) + (e + 1 < epochs.size() ? "\t" : "\n");
  plot.title = "Load per expert, " + words.task + " \"" + name + "\", validation rows";
  plot.is_heat_map = true;
  plot.commands =
      "set title " + gnuplot_string(plot.title) + "\n" +
      epoch_axis(words.epoch, epochs.size(), 0.5) +
      formatted("set yrange [-0.5:%zu.5]\nset ytics %zu\n", experts - 1,
                std::max<std::size_t>(1, experts / 16)) +
      "set ylabel 'expert'\nset cblabel 'share of the samples'\nset cbrange [0:*]\nunset key\n"
      "unset grid\nset palette defined (0 '#440154', 1 '#3b528b', 2 '#21918c', 3 '#5ec962', "
      "4 '#fde725')\nplot 'load_" +
      name + ".tsv' matrix using ($1+1):2:3 with image";
  return plot;
}

/// The orders of one gate's slots, an array of experts per epoch, after the identity it starts
/// with.
std::vector<std::vector<int>> orders_of(std::span<const Json> epochs, std::size_t task,
                                        std::size_t selector) {
  std::vector<std::vector<int>> orders(1);
  for (const Json& epoch : epochs)
    orders.push_back(epoch.at("permutations").at(task).at(selector).get<std::vector<int>>());
  orders.front().resize(orders.back().size());
  std::iota(orders.front().begin(), orders.front().end(), 0);
  return orders;
}

/// Small matrices: a mark where slot and expert meet, at the start and after epochs that change it.
Plot permutation_plot(const std::vector<std::vector<int>>& orders, const std::string& name,
                      const std::string& title) {
  constexpr std::size_t most_panels = 12;
  const std::size_t experts = orders.front().size();
  // What a search does, it does at the start; later epochs repeat the last one.
  std::size_t last = 0;
  for (std::size_t e = 1; e < orders.size(); ++e)
    if (orders[e] != orders[e - 1]) last = e;
  const std::size_t shown = std::min(last + 1, most_panels);
  Plot plot;
  plot.name = name;
  plot.title = title;
  plot.data = "epoch\tslot\texpert\tmoved\n";
  for (std::size_t e = 0; e < orders.size(); ++e)
    for (std::size_t slot = 0; slot < experts; ++slot)
      plot.data += formatted("%zu\t%zu\t%d\t%d\n", e, slot, orders[e][slot],
                             e > 0 && orders[e][slot] != orders[e - 1][slot] ? 1 : 0);
  const std::size_t columns = std::min<std::size_t>(shown, 4);
  const std::size_t rows = (shown + columns - 1) / columns;
  plot.width = static_cast<int>(240 * std::max<std::size_t>(columns, 3));
  plot.height = static_cast<int>(60 + 250 * rows);
  const double size = std::clamp(16.0 / static_cast<double>(experts), 0.2, 1.6);
  plot.commands = formatted(
      "set multiplot layout %zu,%zu title '%s'\nunset key\nset size square\n"
      "set xrange [-0.5:%zu.5]\nset yrange [%zu.5:-0.5]\nset xtics %zu\nset ytics %zu\n"
      "set xlabel 'expert'\nset ylabel 'slot of the gate'\n",
      rows, columns, title.c_str(), experts - 1, experts - 1, std::max<std::size_t>(1, experts / 4),
      std::max<std::size_t>(1, experts / 4));
  for (std::size_t e = 0; e < shown; ++e) {
    const std::size_t epoch = e * last / (shown - 1);
    plot.commands += formatted(
        "set title '%s'\nplot '%s.tsv' skip 1 using ($1==%zu&&$4==0?$3:1/0):2 with "
        "points pt 5 ps %g lc rgb '%s', '' skip 1 using ($1==%zu&&$4==1?$3:1/0):2 with points pt 5 "
        "ps %g lc rgb '%s'\n",
        epoch == 0 ? "at the start" : formatted("after epoch %zu", epoch).c_str(), name.c_str(),
        epoch, size, blue, epoch, size, red);
  }
  plot.commands += "unset multiplot";
  return plot;
}

std::vector<Plot> permutation_plots(std::span<const Json> epochs,
                                    const std::vector<std::string>& tasks) {
  std::vector<Plot> plots;
  std::vector<std::vector<std::vector<int>>> drawn;
  const Json& gates = epochs.front().at("permutations");
  for (std::size_t task = 0; task < gates.size(); ++task)
    for (std::size_t selector = 0; selector < gates[task].size(); ++selector) {
      auto orders = orders_of(epochs, task, selector);
      // Gates that share a permutation share a picture, and a training without search has none.
      if (std::find(drawn.begin(), drawn.end(), orders) != drawn.end()) continue;
      if (std::count(orders.begin(), orders.end(), orders.front()) == std::ssize(orders)) continue;
      const std::string which = formatted("%s_%zu", tasks.at(task).c_str(), selector);
      plots.push_back(permutation_plot(
          orders, "permutation_" + which,
          "Order of the experts, gate \"" + tasks[task] + "\"" +
              (gates[task].size() > 1 ? formatted(", selector %zu", selector) : "") +
              "; red: moved"));
      drawn.push_back(std::move(orders));
    }
  return plots;
}

/// Marks of an axis that counts: gnuplot's own have fractions between if there are few of them.
std::string whole_tics(std::size_t count) {
  constexpr std::size_t most = 10;
  return "set xtics " + std::to_string(std::max<std::size_t>(1, (count + most - 1) / most)) + "\n";
}

/// The same of a logarithmic axis: 1, 2, 5, 10, ...
std::string decade_tics(std::size_t longest) {
  std::string tics;
  for (std::size_t decade = 1; decade <= longest; decade *= 10)
    for (const std::size_t m : {decade, 2 * decade, 5 * decade})
      if (m <= longest) tics += (tics.empty() ? "" : ", ") + std::to_string(m);
  return "set xtics (" + tics + ")\n";
}

}  // namespace

std::vector<Plot> epoch_plots(std::span<const Json> epochs, const PlotWords& words) {
  std::vector<Plot> plots = {loss_plot(epochs, words), score_plot(epochs, words)};
  std::vector<std::string> tasks = words.tasks;
  if (tasks.empty())
    for (std::size_t task = 0; task < epochs.front().at("permutations").size(); ++task)
      tasks.push_back(std::to_string(task + 1));
  for (std::size_t task = 0; task < tasks.size(); ++task)
    plots.push_back(load_plot(epochs, words, tasks[task], task));
  for (Plot& plot : permutation_plots(epochs, tasks)) plots.push_back(std::move(plot));
  return plots;
}

Plot sparsity_plot(std::span<const Json> steps) {
  Plot plot;
  plot.name = "sparsity";
  plot.data = "step\texperts per sample\tloss\n";
  for (const Json& step : steps)
    plot.data += step.at("step").dump() + "\t" + cell(step.at("experts_per_sample")) + "\t" +
                 cell(step.at("loss")) + "\n";
  plot.title = "From dense to sparse: experts that a training batch needs";
  plot.commands =
      "set title " + gnuplot_string(plot.title) +
      "\n"
      "set xlabel 'training step'\nset ylabel 'experts per sample, mean over the gates'\n"
      "set yrange [0:*]\nunset key\n"
      "plot 'sparsity.tsv' skip 1 using 1:2 with lines lw 2 lc rgb '" +
      std::string(blue) + "'";
  return plot;
}

std::vector<Plot> trial_plots(std::span<const Trial> trials) {
  std::vector<Trial> order(trials.begin(), trials.end());
  std::erase_if(order, [](const Trial& trial) { return trial.rung.has_value(); });
  std::sort(order.begin(), order.end(),
            [](const Trial& a, const Trial& b) { return a.number < b.number; });
  Plot losses;
  losses.name = "trials";
  losses.data = "trial\ttest loss\ttest loss of the best so far\n";
  double best_validation = std::numeric_limits<double>::infinity();
  double best_test = best_validation;
  for (const Trial& trial : order) {
    if (trial.validation_loss < best_validation) {
      best_validation = trial.validation_loss;
      best_test = trial.test_loss;
    }
    losses.data +=
        formatted("%d\t", trial.number) + cell(trial.test_loss) + "\t" + cell(best_test) + "\n";
  }
  losses.title = "Test loss against trials";
  losses.commands = "set title " + gnuplot_string(losses.title) + "\nset xlabel 'trial'\n" +
                    whole_tics(order.size()) +
                    "set ylabel 'test loss, weighted sum of the tasks'\nset key below\n"
                    "plot 'trials.tsv' skip 1 using 1:2 with points pt 7 ps 0.7 lc rgb '" +
                    std::string(grey) +
                    "' title 'a trial', '' skip 1 using 1:3 with steps lw 2 lc rgb '" + blue +
                    "' title 'best so far by validation loss'";

  Plot pareto;
  pareto.name = "pareto";
  pareto.data = "trial\texperts per sample\tvalidation loss\ton the front\n";
  const std::vector<Trial> by_loss = ranked(order);
  const std::vector<Trial> front = pareto_front(by_loss);
  for (const Trial& trial : by_loss) {
    const bool on_front = std::any_of(front.begin(), front.end(), [&](const Trial& other) {
      return other.number == trial.number;
    });
    pareto.data += formatted("%d\t", trial.number) + cell(trial.experts_per_sample) + "\t" +
                   cell(trial.validation_loss) + (on_front ? "\t1\n" : "\t0\n");
  }
  pareto.title = "Loss against sparsity";
  pareto.commands =
      "set title " + gnuplot_string(pareto.title) +
      "\nset xlabel 'experts per sample, validation rows'\n"
      "set ylabel 'validation loss, weighted sum of the tasks'\nset key below\n"
      "set xrange [0:*]\nset offsets 0, graph 0.05, graph 0.05, graph 0.05\n"
      "plot 'pareto.tsv' skip 1 using 2:($4==0?$3:1/0) with points pt 7 ps 0.7 lc rgb '" +
      std::string(grey) +
      "' title 'a trial', '' skip 1 using 2:($4==1?$3:1/0) with points pt 7 ps 1.1 lc rgb '" + red +
      "' title 'none better in both'";
  return {losses, pareto};
}

Plot budget_plot(std::span<const BudgetGroup> groups) {
  Plot plot;
  plot.name = "budget";
  std::size_t longest = 0;
  plot.data = "trials";
  for (const BudgetGroup& group : groups) {
    plot.data += "\t" + group.gate + " " + group.local_search;
    longest = std::max(longest, group.curve.size());
  }
  plot.data += "\n";
  for (std::size_t m = 0; m < longest; ++m) {
    plot.data += std::to_string(m + 1);
    for (const BudgetGroup& group : groups)
      plot.data += "\t" + (m < group.curve.size() ? cell(group.curve[m]) : "-");
    plot.data += "\n";
  }
  plot.title = "What a search over hyper-parameters reaches";
  plot.commands =
      "set title " + gnuplot_string(plot.title) +
      "\n"
      "set xlabel 'trials (logarithmic)'\nset logscale x\n" +
      decade_tics(longest) +
      "set ylabel 'expected test loss of the best by validation loss'\nset key below\nplot ";
  for (std::size_t g = 0; g < groups.size(); ++g) {
    // A gate has a colour, whatever else is in the picture; a search has a kind of line.
    const auto place = [](const std::vector<std::string>& names, const std::string& name) {
      return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
    };
    const std::size_t gate = place(gate_names(), groups[g].gate) % std::size(plot_colours);
    constexpr int dashes[] = {2, 1, 4};
    const std::size_t search =
        place(local_search_names(), groups[g].local_search) % std::size(dashes);
    plot.commands += formatted(
        "%s skip 1 using 1:%zu with linespoints lw 2 dt %d pt 7 ps 0.4 lc rgb '%s' title '%s'",
        g == 0 ? "'budget.tsv'" : ", ''", g + 2, dashes[search], plot_colours[gate],
        (groups[g].gate + (groups[g].local_search == no_search
                               ? ", no local search"
                               : ", " + groups[g].local_search + " local search"))
            .c_str());
  }
  return plot;
}

}  // namespace programs
