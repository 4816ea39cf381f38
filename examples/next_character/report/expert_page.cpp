// SPDX-License-Identifier: MIT
#include <next_character/report/expert_page.hpp>

#include <cstddef>
#include <numeric>

#include <programs/base/text_table.hpp>
#include <programs/report/html.hpp>

namespace programs::next_character {
namespace {

constexpr const char* style =
    "pre{line-height:1.5;white-space:pre-wrap;border:1px solid #ccc;padding:1em}"
    "i{font-style:normal;border-radius:2px}td:first-child,th:first-child{text-align:left}";

/// A light colour, as far from those of the others as their number allows.
std::string colour_of(std::size_t expert, std::size_t experts) {
  const auto hue = unsigned(360 * expert / experts);
  return formatted("hsl(%u,75%%,%d%%)", hue, expert % 2 == 0 ? 82 : 70);
}

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

std::string tooltip_of(const PlaceRow& row) {
  std::string text;
  for (std::size_t i = 0; i < row.experts.size(); ++i)
    text +=
        formatted("%sexpert %d: %.2f", i > 0 ? ", " : "", row.experts[i], double(row.weights[i]));
  return text + formatted("; %.1f bits", row.bits);
}

/// A character may be several bytes: it has the colour of the first.
std::string coloured(const ExpertPage& page) {
  std::string html;
  for (std::size_t i = 0; i < page.passage.size();) {
    std::size_t end = i + 1;
    while (end < page.passage.size() && continues_character(page.passage[end])) ++end;
    html += formatted("<i class=\"e%d\" title=\"", page.rows[i].first()) +
            tooltip_of(page.rows[i]) + "\">" + escaped(page.passage.substr(i, end - i)) + "</i>";
    i = end;
  }
  return html;
}

std::string table_of(const Specialisation& experts) {
  const std::size_t n = experts.share.front().size();
  std::string html = "<div class=\"wide\"><table><tr><th>predicting</th><th>share</th>";
  for (std::size_t e = 0; e < n; ++e)
    html += formatted("<th><i class=\"e%zu\">&nbsp;%zu&nbsp;</i></th>", e, e);
  html += "</tr>\n";
  for (std::size_t kind = 0; kind < experts.share.size(); ++kind) {
    const auto& row = experts.share[kind];
    const double sum = std::accumulate(row.begin(), row.end(), 0.0);
    html +=
        "<tr><td>" + std::string(kind_of_place_names[kind]) + formatted("</td><td>%.3f</td>", sum);
    for (const double share : row)
      html += formatted("<td>%.0f %%</td>", sum > 0 ? 100 * share / sum : 0);
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

}  // namespace

std::string html_of(const ExpertPage& page) {
  const std::size_t n = page.experts.share.front().size();
  std::string colours = style;
  for (std::size_t e = 0; e < n; ++e)
    colours += formatted(".e%zu{background:", e) + colour_of(e, n) + "}";
  const std::string body =
      "<p>Every character has the colour of the expert with the most weight when it was "
      "predicted from those before it. Point at one for all weights and the bits it took.</p>\n" +
      table_of(page.experts) +
      formatted(
          "<p>Kind of place and expert share %.3f bits (%.4f if experts are dealt out at "
          "random).</p>\n<pre>",
          page.experts.mutual_information, page.experts.of_shuffled_rows) +
      coloured(page) + "</pre>\n";
  return html_page(page.title, colours, body);
}

}  // namespace programs::next_character
