// SPDX-License-Identifier: MIT
#include <two_pictures/report/expert_sheet.hpp>

#include <algorithm>

#include <programs/base/text_table.hpp>
#include <programs/report/plot_parts.hpp>

namespace programs::two_pictures {
namespace {

constexpr std::size_t columns_of_sheet = 6;
constexpr const char* end_of_line = ".\"\\n\".";

/// For gnuplot, in two lines. "shirt, taken for coat" is wrong, "shirt" right.
std::string caption(const ShownExample& example, std::size_t task,
                    const std::vector<std::string>& names) {
  const auto& truth = names[std::size_t(example.truth[task])];
  const auto& answer = names[std::size_t(example.answer[task])];
  return gnuplot_string(truth == answer ? truth : truth + ", taken for " + answer) + end_of_line +
         gnuplot_string(example.experts[task]);
}

}  // namespace

Plot example_sheet(const std::vector<ShownExample>& examples, Index height, Index width,
                   const std::vector<std::string>& names) {
  const std::size_t rows = (examples.size() + columns_of_sheet - 1) / columns_of_sheet;
  Plot plot;
  plot.name = "examples";
  plot.title = "Test examples, and which experts spoke with what weight";
  plot.width = int(columns_of_sheet) * 190;
  plot.height = int(rows) * 230 + 40;
  plot.commands =
      "unset key\nunset colorbox\nunset xtics\nunset ytics\nunset border\n"
      "set palette gray negative\nset size ratio -1\nset cbrange [0:1]\n"
      "set yrange [] reverse\n" +
      formatted("set multiplot layout %d,%d title ", int(rows), int(columns_of_sheet)) +
      gnuplot_string(plot.title) + "\n";
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const ShownExample& example = examples[i];
    for (Index row = 0; row < height; ++row)
      for (Index column = 0; column < width; ++column)
        plot.data += formatted("%.3g", double(example.pixels[std::size_t(row * width + column)])) +
                     (column + 1 < width ? "\t" : "\n");
    plot.data += "\n\n";
    std::string title;
    bool right = true;
    for (std::size_t task = 0; task < example.truth.size(); ++task) {
      title += (task == 0 ? "" : end_of_line) + caption(example, task, names);
      right = right && example.truth[task] == example.answer[task];
    }
    plot.commands += "set title " + title + " font ',9' textcolor rgb '" +
                     (right ? "#000000" : red) + "'\nplot 'examples.tsv' index " +
                     std::to_string(i) + " matrix with image\n";
  }
  plot.commands += "unset multiplot";
  return plot;
}

Plot expert_by_class(const comet::Matrix<double>& shares, std::size_t task,
                     const std::vector<std::string>& names) {
  Plot plot;
  plot.name = "experts_by_class_" + std::to_string(task);
  plot.title = "Weight of the experts by class of the picture, task " + std::to_string(task);
  for (Index e = 0; e < shares.cols(); ++e)
    for (Index c = 0; c < shares.rows(); ++c)
      plot.data += formatted("%.4f", shares(c, e)) + (c + 1 < shares.rows() ? "\t" : "\n");
  std::string marks;
  for (std::size_t c = 0; c < names.size(); ++c)
    marks += (c == 0 ? "" : ", ") + gnuplot_string(names[c]) + " " + std::to_string(c);
  plot.commands = "set title " + gnuplot_string(plot.title) +
                  "\nset palette defined (0 '#ffffff', 1 '" + std::string(blue) +
                  "')\nset cbrange [0:1]\nset ylabel 'expert'\nset ytics 1\n" +
                  formatted("set xrange [-0.5:%g]\nset yrange [-0.5:%g]\n",
                            double(names.size()) - 0.5, double(shares.cols()) - 0.5) +
                  "set xtics (" + marks + ") rotate by 40 right\nunset key\nplot '" + plot.name +
                  ".tsv' matrix with image";
  return plot;
}

}  // namespace programs::two_pictures
