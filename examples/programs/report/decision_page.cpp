// SPDX-License-Identifier: MIT
#include <programs/report/decision_page.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <utility>
#include <vector>

#include <programs/base/text_table.hpp>
#include <programs/report/html.hpp>

namespace programs {
namespace {

constexpr double leaf_width = 76;
constexpr double stub_width = 30;  // of a child that is not drawn
constexpr double tree_gap = 36;
constexpr double level_height = 62;
constexpr double box_height = 34;
constexpr double tree_margin = 6;
constexpr std::int64_t last_number = 1 << 20;  // of a node, so that its children's fit

std::string percent(double share) {
  return share > 0 && share < 0.01 ? "<1 %" : formatted("%.0f %%", 100 * share);
}

/// \param anchor  what of the text is at x
std::string text_at(double x, double y, const std::string& text, const char* colour,
                    const char* anchor = "middle") {
  return formatted("<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\" text-anchor=\"%s\">", x, y, colour,
                   anchor) +
         escaped(text) + "</text>\n";
}

/// \brief A tree, drawn from its nodes: a split is a box, an edge as thick as the share of the row
/// that takes it, a leaf a box in the colour of its weight; a dot is a child that is not drawn.
class TreeDrawing {
 public:
  /// \param nodes  of one tree, by their numbers in heap order
  explicit TreeDrawing(std::map<std::int64_t, Json> nodes) : nodes_(std::move(nodes)) {}

  /// \param left  edge of the drawing
  void draw(double left, double top) {
    width_ = width_of(0);
    draw_node(0, left, top);
  }

  [[nodiscard]] double width() const { return width_; }
  [[nodiscard]] double bottom() const { return bottom_; }
  /// Edges are below boxes.
  [[nodiscard]] std::string svg() const { return edges_ + boxes_; }

 private:
  [[nodiscard]] bool is_drawn(std::int64_t number) const { return nodes_.contains(number); }
  [[nodiscard]] double width_of(std::int64_t number) const {
    if (!is_drawn(number)) return stub_width;
    if (nodes_.at(number).contains("weight")) return leaf_width;
    return std::max(leaf_width, width_of(2 * number + 1) + width_of(2 * number + 2));
  }
  /// Where a node's box is, from the left edge of what is below it.
  [[nodiscard]] double centre_of(std::int64_t number, double left) const {
    return left + width_of(number) / 2;
  }

  void draw_node(std::int64_t number, double left, double top) {
    const double x = centre_of(number, left);
    bottom_ = std::max(bottom_, top + box_height);
    const Json& node = nodes_.at(number);
    if (node.contains("weight")) {
      const double weight = node.at("weight");
      box(x, top, colour_of(weight), "expert " + node.at("expert").dump(), percent(weight),
          is_dark(weight) ? "#fff" : "#222");
      return;
    }
    box(x, top, "#fff", "split " + std::to_string(number),
        formatted("logit %.2g", node.at("logit").get<double>()), "#222");
    const double both = width_of(2 * number + 1) + width_of(2 * number + 2);
    double child_left = x - both / 2;
    for (const char* side : {"left", "right"}) {
      const std::int64_t child = 2 * number + (*side == 'l' ? 1 : 2);
      draw_edge(x, top + box_height, child, child_left, node.at(side));
      child_left += width_of(child);
    }
  }

  void draw_edge(double x, double y, std::int64_t child, double child_left, double share) {
    const double to = centre_of(child, child_left);
    if (!is_drawn(child)) {
      const double end = y + (level_height - box_height) * 0.7;
      edges_ +=
          formatted("<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#bbb\"></path>\n", x, y, to, end) +
          formatted("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"#bbb\"></circle>\n", to, end);
      return;
    }
    const double end = y + level_height - box_height;
    edges_ += formatted(
        "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#08488f\" stroke-width=\"%.1f\">"
        "</path>\n",
        x, y, to, end, 1 + 5 * std::clamp(share, 0.0, 1.0));
    // Beside the line, on the outer side, with a white rim where the line is too flat for that.
    const bool to_left = to < x;
    boxes_ += "<g stroke=\"#fff\" stroke-width=\"4\" paint-order=\"stroke\">" +
              text_at((x + to) / 2 + (to_left ? -8 : 8), (y + end) / 2 + 4, percent(share), "#555",
                      to_left ? "end" : "start") +
              "</g>\n";
    draw_node(child, child_left, end);
  }

  void box(double x, double y, const std::string& fill, const std::string& first,
           const std::string& second, const char* letters) {
    boxes_ += formatted(
                  "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"5\" "
                  "stroke=\"#999\" fill=\"",
                  x - leaf_width / 2 + 3, y, leaf_width - 6, box_height) +
              fill + "\"></rect>\n" + text_at(x, y + 14, first, letters) +
              text_at(x, y + 28, second, letters);
  }

  std::map<std::int64_t, Json> nodes_;
  double width_ = 0;
  double bottom_ = 0;
  std::string edges_, boxes_;
};

/// The trees of a gate, side by side.
std::string trees_of(const Json& nodes, const std::string& title) {
  std::map<std::int64_t, std::map<std::int64_t, Json>> trees;
  for (const Json& node : nodes) {
    const std::int64_t number = node.at("number");
    if (number < 0 || number > last_number) throw std::out_of_range("number of a node");
    trees[node.at("tree")][number] = node;
  }
  double left = tree_margin, bottom = 0;
  std::string drawn;
  for (auto& [tree, its_nodes] : trees) {
    TreeDrawing drawing(std::move(its_nodes));
    drawing.draw(left, tree_margin);
    drawn += drawing.svg();
    left += drawing.width() + tree_gap;
    bottom = std::max(bottom, drawing.bottom());
  }
  return "<div class=\"wide\"><svg role=\"img\" aria-label=\"" + escaped(title) + "\"" +
         formatted(" width=\"%.0f\" height=\"%.0f\" font-size=\"12\">\n",
                   left - tree_gap + tree_margin, bottom + tree_margin) +
         drawn + "</svg></div>\n";
}

/// What spoke for each expert, and against which.
std::string choices_of(const Json& gate) {
  std::map<std::int64_t, double> weights;
  for (const Json& entry : gate.at("experts")) weights[entry.at("expert")] = entry.at("weight");
  Cells cells = {{"expert", "weight", "ahead of", "by", "distance"}};
  for (const Json& choice : gate.at("choices")) {
    const std::int64_t expert = choice.at("expert");
    const auto number = [&](const char* name) {
      return choice.at(name).is_number() ? formatted("%.3g", choice.at(name).get<double>()) : "";
    };
    cells.push_back({std::to_string(expert), percent(weights[expert]),
                     "expert " + choice.at("against").dump(), number("lead"), number("distance")});
  }
  return html_table(cells, 0);
}

/// "watched: expert 3 61 %, expert 7 39 %; ..."
std::string sentence_of(const Json& gate, const std::string& task) {
  constexpr std::size_t most_experts = 6;
  std::vector<std::pair<double, std::int64_t>> experts;
  for (const Json& entry : gate.at("experts"))
    experts.emplace_back(-entry.at("weight").get<double>(), entry.at("expert"));
  std::sort(experts.begin(), experts.end());
  std::string text = task + (experts.empty() ? ": no expert" : ":");
  const std::size_t named = std::min(experts.size(), most_experts);
  for (std::size_t i = 0; i < named; ++i)
    text += (i > 0 ? ", expert " : " expert ") + std::to_string(experts[i].second) + ' ' +
            percent(-experts[i].first);
  if (named < experts.size()) text += " and " + std::to_string(experts.size() - named) + " more";
  const Json& distance = gate.at("distance");
  if (distance.is_number())
    text += formatted("; what is nearer than %.2g goes the same way", distance.get<double>());
  return text + ".";
}

std::string gate_of(const Json& gate, const std::string& task) {
  const std::string sentence = sentence_of(gate, task);
  return "<p>" + escaped(sentence) + "</p>\n" +
         (gate.at("nodes").empty() ? gate.at("choices").empty() ? "" : choices_of(gate)
                                   : trees_of(gate.at("nodes"), sentence));
}

}  // namespace

std::string html_decision_paths(const Json& rows, std::span<const std::string> tasks) {
  if (!rows.is_array()) throw std::out_of_range("no list of rows");
  std::string html;
  bool has_trees = false;
  for (const Json& row : rows) {
    const Json& gates = row.at("gates");
    html += "<h3>" + escaped(row.at("row").get<std::string>()) + "</h3>\n";
    for (std::size_t g = 0; g < gates.size(); ++g) {
      html += gate_of(gates[g], g < tasks.size() ? tasks[g] : "gate " + std::to_string(g + 1));
      has_trees = has_trees || !gates[g].at("nodes").empty();
    }
  }
  if (html.empty()) return html;
  return "<h2>The way of a few rows</h2>\n<p class=\"note\">Rows that are held out, and how the "
         "gates of the trained model send them." +
         std::string(has_trees ? " A split gives a share to its left and its right side, a line is "
                                 "as thick as the share; what ends in a dot gets nothing, or less "
                                 "than 1 % of the row."
                               : "") +
         "</p>\n" + html;
}

}  // namespace programs
