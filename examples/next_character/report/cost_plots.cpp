// SPDX-License-Identifier: MIT
#include <next_character/report/cost_plots.hpp>

#include <algorithm>
#include <string>

#include <next_character/model/train_options.hpp>
#include <programs/base/text_table.hpp>

namespace programs::next_character {
namespace {

struct Point {
  std::string row;
  double cost, bits;
};

template <class Figure>
double mean_of(const ResultRow& row, Figure figure) {
  double sum = 0;
  for (const RunResult& run : row.runs) sum += figure(run);
  return sum / double(row.runs.size());
}

/// Two blocks of data, the dense networks by their cost, then the mixtures.
std::string data_of(std::vector<Point> points) {
  std::sort(points.begin(), points.end(),
            [](const Point& a, const Point& b) { return a.cost < b.cost; });
  std::string data;
  for (const bool of_dense : {true, false}) {
    data += "cost\tbits\tname\n";
    for (const Point& point : points)
      if (is_dense(point.row) == of_dense)
        data += formatted("%.6g\t%.5f\t", point.cost, point.bits) + point.row + "\n";
    if (of_dense) data += "\n\n";
  }
  return data;
}

template <class Cost>
Plot cost_plot(const std::vector<ResultRow>& rows, const std::string& name,
               const std::string& title, const std::string& axis, Cost cost) {
  std::vector<Point> points;
  bool has_dense = false, has_mixture = false;
  for (const ResultRow& row : rows) {
    points.push_back({row.gate, mean_of(row, cost), mean_of(row, [](const RunResult& r) {
                        return r.training.test.measure("bits");
                      })});
    (is_dense(row.gate) ? has_dense : has_mixture) = true;
  }
  const std::string labels = " with labels left offset 0.8,0.4 notitle";
  std::string curves;
  const auto add = [&](const std::string& curve) {
    curves += (curves.empty() ? "plot '" + name + ".tsv' " : ", '' ") + curve;
  };
  if (has_dense) {
    add("index 0 skip 1 using 1:2 with linespoints lw 2 pt 7 lc rgb '#999999' title 'dense'");
    add("index 0 skip 1 using 1:2:3" + labels);
  }
  if (has_mixture) {
    add("index 1 skip 1 using 1:2 with points pt 7 ps 1.4 lc rgb '#0072B2' title 'mixture'");
    add("index 1 skip 1 using 1:2:3" + labels);
  }
  return {.name = name,
          .data = data_of(std::move(points)),
          .commands = "set title " + gnuplot_string(title) + "\nset xlabel '" + axis +
                      "'\nset ylabel 'bits a character, held out'\nset offsets graph 0.1, graph "
                      "0.2, graph 0.1, graph 0.1\nset key top right\n" +
                      curves,
          .title = title};
}

}  // namespace

std::vector<Plot> cost_plots(const std::vector<ResultRow>& rows) {
  return {cost_plot(rows, "bits_by_multiply_adds", "Bits against the cost of a prediction",
                    "multiply-adds a character in experts and gate",
                    [](const RunResult& r) { return r.training.test.measure("multiply_adds"); }),
          cost_plot(rows, "bits_by_seconds", "Bits against the time of the training",
                    "seconds of training", [](const RunResult& r) { return r.training.seconds; })};
}

}  // namespace programs::next_character
