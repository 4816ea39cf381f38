// SPDX-License-Identifier: MIT
#include <programs/report/run_plots.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <limits>

#include <programs/base/text_table.hpp>
#include <programs/base/utf8.hpp>
#include <programs/report/plot_parts.hpp>

namespace programs {
namespace {

double number(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

/// The mean over the runs of a curve; none where one of them has ended.
std::string mean_cell(const std::vector<std::vector<Json>>& runs, std::size_t epoch,
                      const char* measure) {
  double sum = 0;
  for (const auto& epochs : runs) {
    if (epoch >= epochs.size()) return "-";
    sum += number(epochs[epoch].at("validation").at(measure));
  }
  return cell(sum / static_cast<double>(runs.size()));
}

/// A measure of the validation rows by epoch, a curve per name.
Plot run_plot(const RunEpochs& runs, const char* measure, const PlotWords& words) {
  Plot plot;
  std::size_t longest = 0;
  plot.data = words.epoch;
  for (const auto& [name, group] : runs) {
    plot.data += "\t" + printable(name);
    for (const auto& epochs : group) longest = std::max(longest, epochs.size());
  }
  plot.data += "\n";
  for (std::size_t e = 0; e < longest; ++e) {
    plot.data += std::to_string(e + 1);
    for (const auto& [name, group] : runs) plot.data += "\t" + mean_cell(group, e, measure);
    plot.data += "\n";
  }
  plot.commands = epoch_axis(words.epoch, longest, 0.2) + "set key above\nplot";
  std::size_t i = 0;
  for (const auto& [name, group] : runs) {
    constexpr std::size_t count = std::size(plot_colours);
    plot.commands += formatted(
        "%s skip 1 using 1:%zu with linespoints lw 2 dt %zu pt 7 ps 0.6 lc rgb '%s' title ",
        i == 0 ? " 'NAME.tsv'" : ", ''", i + 2, 1 + i / count % 3, plot_colours[i % count]);
    plot.commands += gnuplot_string(name);
    ++i;
  }
  return plot;
}

/// Gives a plot its name and what it is of.
Plot named(Plot plot, const std::string& name, const std::string& title,
           const std::string& settings) {
  plot.name = name;
  plot.title = title;
  plot.commands.replace(plot.commands.find("NAME.tsv"), 8, name + ".tsv");
  plot.commands = "set title " + gnuplot_string(title) + "\n" + settings + plot.commands;
  return plot;
}

}  // namespace

std::vector<Plot> run_plots(const RunEpochs& runs, const PlotWords& words) {
  if (runs.empty()) return {};
  return {named(run_plot(runs, "loss", words), "losses", "Validation loss by " + words.epoch,
                "set ylabel 'loss'\n"),
          named(run_plot(runs, "experts_per_sample", words), "sparsities",
                "Experts per sample by " + words.epoch,
                "set ylabel 'experts per sample, validation rows'\nset yrange [0:*]\n")};
}

}  // namespace programs
