// SPDX-License-Identifier: MIT
#include <programs/report/html.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <programs/base/utf8.hpp>

namespace programs {
namespace {

// Wide things scroll by themselves, so that a telephone shows the rest; paper has no scroll bars.
// A picture has its title in it, but far to the right of what a telephone shows first.
constexpr std::string_view style_of_all =
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;"
    "color:#222;background:#fff}"
    "h1{font-size:1.7rem;line-height:1.2;margin:.5em 0;overflow-wrap:anywhere}"
    "h2{font-size:1.25rem;margin:2em 0 .6em;padding-bottom:.2em;border-bottom:1px solid #ccc}"
    "h3{font-size:1rem;margin:1.5em 0 .4em;white-space:pre-wrap}"
    "p{overflow-wrap:anywhere}"
    ".wide{overflow-x:auto;margin:.8em 0}"
    "table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}"
    "th,td{padding:.25em .7em;text-align:right;white-space:nowrap;border-bottom:1px solid #e4e4e4}"
    "th{border-bottom:2px solid #bbb}"
    ".word{text-align:left}"
    ".marked td{background:#f2f2f2;color:#555}"
    "figure{margin:1.5em 0;break-inside:avoid}"
    "figcaption{display:none;font-weight:600}"
    "figure img{display:block;width:100%;min-width:38rem;height:auto}"
    ".heat td,.heat th{padding:.1em .35em;font-size:.75rem;border:1px solid #fff;"
    "text-align:center;print-color-adjust:exact;-webkit-print-color-adjust:exact}"
    ".heat th{color:#555;font-weight:400}"
    ".note{color:#555;font-size:.9rem}"
    ".warning{border-left:4px solid #D55E00;padding:.5em 1em;background:#fdf1ea}"
    "summary{cursor:pointer;color:#555;font-size:.9rem}"
    "@media screen and (max-width:40rem){figcaption{display:block}}"
    "@media print{body{max-width:none;padding:0;font-size:10pt}.wide{overflow:visible}"
    "figure{margin:.5em 0}figure "
    "img{min-width:0;width:auto;max-height:9cm}details:not([open]){display:none}h2,h3{break-after:"
    "avoid}tr{break-inside:avoid}}";

std::string base64(std::string_view bytes) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8U | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j)
      text += j <= count ? digits[group >> (18 - 6 * j) & 63U] : '=';
  }
  return text;
}

}  // namespace

std::string colour_of(double share) {
  const double s = std::clamp(share, 0.0, 1.0);
  const auto part = [s](double light, double dark) {
    return static_cast<int>(std::lround(light + s * (dark - light)));
  };
  return formatted("rgb(%d,%d,%d)", part(247, 8), part(251, 72), part(255, 145));
}

bool is_dark(double share) { return share > 0.7; }

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : to_utf8(text)) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\n':
        result += '\n';
        break;
      default:
        result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return result;
}

std::string html_page(std::string_view title, std::string_view style, std::string_view body) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>";
  html += escaped(title);
  html += "</title>\n<style>";
  html += style_of_all;
  html += style;
  html += "</style></head><body>\n<h1>";
  html += escaped(title);
  html += "</h1>\n";
  html += body;
  return html + "</body></html>\n";
}

std::string html_table(const Cells& cells, std::size_t words,
                       const std::function<bool(std::size_t)>& is_marked) {
  std::string html = "<div class=\"wide\"><table>\n";
  for (std::size_t l = 0; l < cells.size(); ++l) {
    const std::string tag = l == 0 ? "th" : "td";
    html += is_marked && is_marked(l) ? "<tr class=\"marked\">" : "<tr>";
    for (std::size_t i = 0; i < cells[l].size(); ++i)
      html += "<" + tag + (i < words ? " class=\"word\">" : ">") + escaped(cells[l][i]) + "</" +
              tag + ">";
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string html_heat_map(const std::vector<std::vector<double>>& rows, std::string_view down,
                          std::string_view across, const std::vector<std::string>& columns) {
  std::string html = "<div class=\"wide\"><table class=\"heat\">\n<tr><th>" + escaped(down) +
                     " \\ " + escaped(across) + "</th>";
  for (const std::string& column : columns) html += "<th>" + escaped(column) + "</th>";
  html += "</tr>\n";
  for (std::size_t row = 0; row < rows.size(); ++row) {
    html += "<tr><th>" + std::to_string(row) + "</th>";
    for (const double share : rows[row])
      html += std::isfinite(share) ? "<td style=\"background:" + colour_of(share) +
                                         (is_dark(share) ? ";color:#fff" : "") +
                                         formatted("\">%.0f</td>", 100 * share)
                                   : "<td></td>";
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string html_picture(std::string_view svg, std::string_view title) {
  const std::string text = escaped(title);
  return "<figure><figcaption>" + text +
         "</figcaption><div class=\"wide\"><img src=\"data:image/svg+xml;base64," + base64(svg) +
         "\" alt=\"" + text + "\"></div></figure>\n";
}

}  // namespace programs
