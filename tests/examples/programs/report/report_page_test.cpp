// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <programs/base/file_error.hpp>
#include <programs/base/json.hpp>
#include <programs/report/folder_report.hpp>
#include <programs/report/html.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using comet::test::content_of;
using comet::test::TemporaryDirectory;
using programs::Json;
using programs::Plot;
using programs::ReportWords;
using programs::ResultRow;

namespace {

constexpr const char* hostile = "</td><script src=\"//x\">&\x01'\xE9</script>";
// Also a string of gnuplot must not end before its end.
constexpr const char* hostile_folder = "a'b \"<i>&c";

bool has_gnuplot() { return std::system("gnuplot --version >/dev/null 2>&1") == 0; }

/// The search path without gnuplot, for a while.
class WithoutGnuplot {
 public:
  WithoutGnuplot() : path_(std::getenv("PATH") ? std::getenv("PATH") : "") {
    ::setenv("PATH", "/nowhere", 1);
  }
  WithoutGnuplot(const WithoutGnuplot&) = delete;
  WithoutGnuplot& operator=(const WithoutGnuplot&) = delete;
  ~WithoutGnuplot() { ::setenv("PATH", path_.c_str(), 1); }

 private:
  std::string path_;
};

/// What is wrong with a page, in words: a tag that is not closed, a bare & or quote, anything that
/// would be fetched or run. Empty for a good one.
std::string fault_of(std::string html) {
  constexpr std::string_view picture = "data:image/svg+xml;base64,";
  for (std::size_t at = html.find(picture); at != html.npos; at = html.find(picture, at + 1))
    html.erase(at + picture.size(), html.find('"', at) - at - picture.size());
  for (const char* word :
       {"http", "<script", "<link", "@import", "url(", "onload", "javascript:", " href", "src=\"/"})
    if (html.find(word) != html.npos) return std::string("holds ") + word;
  constexpr std::string_view head = "<!DOCTYPE html>\n";
  if (!html.starts_with(head)) return "does not begin as a page";
  std::vector<std::string> open;
  for (std::size_t at = head.size(); at < html.size(); ++at) {
    const std::string place = " at " + html.substr(at, 40);
    if (static_cast<unsigned char>(html[at]) < 0x20 && html[at] != '\n') return "control" + place;
    if (html[at] == '>') return "bare >" + place;
    if (html[at] == '&') {
      const std::string name = html.substr(at + 1, html.find(';', at) - at - 1);
      if (name != "amp" && name != "lt" && name != "gt" && name != "quot") return "bare &" + place;
    }
    if (html[at] != '<') continue;
    const std::size_t end = html.find('>', at);
    if (end == html.npos) return "no end" + place;
    const std::string tag = html.substr(at + 1, end - at - 1);
    if (tag.find('<') != tag.npos || std::count(tag.begin(), tag.end(), '"') % 2 != 0)
      return "bad tag" + place;
    const std::string name = tag.substr(0, tag.find(' '));
    at = end;
    if (name.starts_with('/')) {
      if (open.empty() || "/" + open.back() != name) return "closes another" + place;
      open.pop_back();
    } else if (name != "meta" && name != "img") {
      open.push_back(name);
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> stays open";
}

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

/// What stands in base64 in the n-th picture.
std::string picture_in(const std::string& html, std::size_t n) {
  const std::string begin = "src=\"data:image/svg+xml;base64,";
  std::size_t at = html.find(begin);
  for (; n > 0; --n) at = html.find(begin, at + 1);
  at += begin.size();
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned bits = 0, have = 0;
  for (; html[at] != '"' && html[at] != '='; ++at) {
    bits = bits << 6U | static_cast<unsigned>(digits.find(html[at]));
    have += 6;
    if (have >= 8) bytes += static_cast<char>(bits >> (have -= 8) & 255U);
  }
  return bytes;
}

ReportWords words() {
  return {.plots = {.tasks = {"watched", "rating"},
                    .losses = {{"mse", "MSE", "MSE of the rating"}},
                    .loss_units = "",
                    .score = {"auc", "AUC", "AUC of watched"}},
          .results = {.measures = {{"mse", "test MSE"}, {"auc", "test AUC"}}},
          .is_twin = [](const std::string& row) { return row == "dense"; }};
}

Json figures_of(double loss) {
  return {{"loss", loss},
          {"mse", 2 * loss},
          {"auc", nullptr},  // nan
          {"experts_per_sample", 1.5},
          {"experts_per_sample_by_task", {1.0, 2.0}},
          {"effective_experts", {1.0, 2.5}},
          {"mutual_information", {0.0, 0.75}},
          {"load_per_expert", {{1.0, 0.0, 0.0}, {0.25, 0.5, 0.875}}}};
}

/// Writes what a training writes. \param factor  of its losses
void write_training(const std::filesystem::path& folder, const std::string& gate, double factor,
                    bool has_ended = true) {
  std::filesystem::create_directories(folder);
  std::ofstream metrics(folder / "metrics.jsonl");
  for (int epoch = 1; epoch <= 3; ++epoch)
    metrics << Json{{"epoch", epoch},
                    {"training", {{"loss", 2.0 / epoch}}},
                    {"validation", figures_of(factor / epoch)},
                    {"permutations", {{{0, 1, 2}}, {{0, 1, 2}}}}}
                   .dump()
            << '\n';
  std::ofstream steps(folder / "steps.jsonl");
  for (int step = 1; step <= 100; ++step)
    steps << Json{{"step", step}, {"loss", 1.0 / step}, {"experts_per_sample", 3.0}}.dump() << '\n';
  if (!has_ended) return;
  std::ofstream(folder / "result.json") << Json{
      {"source", hostile},
      {"ratings", 1234},
      {"rows", {{"train", 900}, {"test", 300}}},
      {"options", {{"gate", gate}, {"local_search", "none"}, {"title", hostile}}},
      {"parameters", 4711},
      {"epochs", 3},
      {"best_epoch", 2},
      {"test", figures_of(factor)},
      {"threads", 1},
      {"seconds_per_epoch", 1.5},
      {"seconds", 4.5}}.dump(-1, ' ', false, Json::error_handler_t::ignore);
}

struct Report {
  std::string html, out, err;
};

Report report_of(const std::filesystem::path& folder, const ReportWords& how = words()) {
  std::ostringstream out, err;
  programs::report_folder(folder, "", how, {.out = out, .err = err});
  CHECK_THAT(out.str(), EndsWith("/report/report.html\n"));
  const std::string html = content_of(folder / "report" / "report.html");
  CHECK(fault_of(html) == "");
  return {html, out.str(), err.str()};
}

}  // namespace

TEST_CASE("escaped: text stays text", "[programs][report]") {
  CHECK(programs::escaped("a < b > c & \"d\"\te\nf\x1B") ==
        "a &lt; b &gt; c &amp; &quot;d&quot; e\nf ");
  CHECK(programs::escaped("\xC3\xA9 \xE9") == "\xC3\xA9 \xC3\xA9");
  CHECK(fault_of(programs::html_page(hostile, "", programs::html_table({{hostile}, {"1"}}, 1))) ==
        "");
  // What is looked for would be found.
  CHECK(fault_of(programs::html_page("a", "", "<p>b")) != "");
  CHECK(fault_of(programs::html_page("a", "", "b & c")) != "");
  CHECK(fault_of(programs::html_page("a", "", hostile)) != "");
}

TEST_CASE("a heat map has a colour and a number for each share", "[programs][report]") {
  const std::string html =
      programs::html_heat_map({{0, 1}, {std::nan(""), 0.5}}, "expert", "epoch", {"1", "2"});
  CHECK_THAT(html, ContainsSubstring("expert \\ epoch</th><th>1</th><th>2</th>"));
  CHECK_THAT(html, ContainsSubstring("<td style=\"background:rgb(247,251,255)\">0</td>"
                                     "<td style=\"background:rgb(8,72,145);color:#fff\">100</td>"));
  CHECK_THAT(html, ContainsSubstring("<th>1</th><td></td><td style=\"background:rgb(128,162,200)\">"
                                     "50</td>"));
}

TEST_CASE("report.html of a training: one file with all there is", "[programs][report]") {
  const TemporaryDirectory directory;
  const auto folder = directory.path() / hostile_folder;
  write_training(folder, "comet", 0.5);
  const Report report = report_of(folder);
  CHECK_THAT(report.html,
             ContainsSubstring("<h1>Training a'b &quot;&lt;i&gt;&amp;c</h1>") &&
                 ContainsSubstring("1234 ratings; rows: 900 train, 300 test") &&
                 ContainsSubstring("&lt;/td&gt;&lt;script src=&quot;") &&
                 ContainsSubstring("3 epochs, the best is number 2; 5 s with 1 thread<"));
  CHECK_THAT(report.html, ContainsSubstring("<td>1.0000</td><td>nan</td><td>1.50</td>"));
  CHECK_THAT(report.html,
             ContainsSubstring("task 1 sends all samples to the same 1.0 of 3 experts"));
  CHECK_THAT(report.html,
             ContainsSubstring("<td class=\"word\">rating</td><td>2.00</td><td>2.50</td>"
                               "<td>3</td><td>0.750</td>"));
  CHECK(count_of(report.html, "class=\"heat\"") == 2);
  CHECK_THAT(report.html, ContainsSubstring(">88</td>"));
  CHECK_THAT(report.html, ContainsSubstring("<td class=\"word\">title</td>"));
  CHECK_THAT(report.html, ContainsSubstring("40 of 100 lines; all are in sparsity.tsv."));
  if (!has_gnuplot()) {
    WARN("no gnuplot: pictures are not looked at");
    return;
  }
  // There is nothing to be drawn of an AUC that is nan throughout: the other pictures are there.
  CHECK(report.err == "gnuplot could not draw " + (folder / "report" / "auc").string() + ".gp\n");
  CHECK_THAT(report.html, ContainsSubstring("<h3>AUC of watched on the validation rows</h3>"));
  const std::vector<std::string> pictures = {"loss", "sparsity"};
  REQUIRE(count_of(report.html, "<img src=\"data:") == pictures.size());
  for (std::size_t i = 0; i < pictures.size(); ++i)
    CHECK(picture_in(report.html, i) == content_of(folder / "report" / (pictures[i] + ".svg")));
}

TEST_CASE("report.html: the way of a few rows, by trees and by choices", "[programs][report]") {
  const TemporaryDirectory directory;
  write_training(directory.path(), "comet", 0.5);
  CHECK(count_of(report_of(directory.path()).html, "<svg") == 0);
  const Json split = {{"tree", 0}, {"number", 0},  {"reach", 1},
                      {"left", 1}, {"right", 0.0}, {"logit", 1.25}};
  const Json leaf = {{"tree", 0}, {"number", 1}, {"reach", 1}, {"expert", 7}, {"weight", 0.25}};
  const Json root = {{"tree", 1}, {"number", 0}, {"reach", 1}, {"expert", 8}, {"weight", 0.75}};
  const Json experts = {{{"expert", 7}, {"weight", 0.25}}, {{"expert", 8}, {"weight", 0.75}}};
  const Json trees = {{"experts", experts},
                      {"nodes", {split, leaf, root}},
                      {"choices", Json::array()},
                      {"distance", 0.125}};
  const Json choice = {{"expert", 8}, {"against", 3}, {"lead", 1.5}, {"distance", nullptr}};
  const Json choices = {
      {"experts", experts}, {"nodes", Json::array()}, {"choices", {choice}}, {"distance", nullptr}};
  const auto file = directory.path() / "decision_paths.json";
  const auto write = [&](const Json& json) {
    std::ofstream(file) << json.dump(-1, ' ', false, Json::error_handler_t::ignore);
  };
  write({{{"row", hostile}, {"gates", {trees, choices}}}, {{"row", "two"}, {"gates", {trees}}}});
  const std::string html = report_of(directory.path()).html;
  CHECK_THAT(html,
             ContainsSubstring("<h2>The way of a few rows</h2>") &&
                 ContainsSubstring("<h3>two</h3>") &&
                 ContainsSubstring("<p>watched: expert 8 75 %, expert 7 25 %; what is nearer than "
                                   "0.12 goes the same way.</p>") &&
                 ContainsSubstring("<p>rating: expert 8 75 %, expert 7 25 %.</p>"));
  CHECK_THAT(html,
             ContainsSubstring("<td>8</td><td>75 %</td><td>expert 3</td><td>1.5</td><td></td>"));
  // Twice a split with two leaves drawn, one child that gets nothing, and the way to the other.
  CHECK(count_of(html, "<svg role=\"img\" aria-label=\"watched: expert 8") == 2);
  CHECK(count_of(html, ">split 0</text>") == 2);
  CHECK(count_of(html, ">logit 1.2</text>") == 2);
  CHECK(count_of(html, ">expert 7</text>") == 2);
  CHECK(count_of(html, "<rect") == 6);
  CHECK(count_of(html, "<circle") == 2);
  CHECK(count_of(html, "stroke-width=\"6.0\"") == 2);

  Json far = trees;
  far["nodes"][1]["number"] = -1;
  Json rootless = trees;
  rootless["nodes"].erase(0);
  Json nameless = trees;
  nameless.erase("experts");
  for (const Json& damaged :
       {Json(3), Json{{{"row", 1}, {"gates", Json::array()}}}, Json{{{"gates", {trees}}}},
        Json{{{"row", "a"}, {"gates", {far}}}}, Json{{{"row", "a"}, {"gates", {rootless}}}},
        Json{{{"row", "a"}, {"gates", {nameless}}}}}) {
    INFO(damaged.dump());
    write(damaged);
    CHECK_THROWS_WITH(report_of(directory.path()),
                      file.string() + ": is not what a training writes");
  }
  std::ofstream(file) << std::string(100'000, '[');
  CHECK_THROWS_WITH(report_of(directory.path()), ContainsSubstring("decision_paths.json"));
}

TEST_CASE("report.html without gnuplot has numbers, not pictures of before", "[programs][report]") {
  const TemporaryDirectory directory;
  write_training(directory.path(), "comet", 0.5);
  std::filesystem::create_directories(directory.path() / "report");
  std::ofstream(directory.path() / "report" / "loss.svg") << "<svg></svg>";
  const WithoutGnuplot guard;
  const Report report = report_of(directory.path());
  CHECK_THAT(report.err, ContainsSubstring("gnuplot is not installed"));
  CHECK(count_of(report.html, "<img") == 0);
  CHECK(count_of(report.html, "<details") == 0);
  CHECK_THAT(report.html, ContainsSubstring("<h3>Loss by epoch</h3>") &&
                              ContainsSubstring("<td>2</td><td>1</td><td>0.25</td><td>0.5</td>"));
  CHECK(count_of(report.html, "class=\"heat\"") == 2);
}

TEST_CASE("report.html of a training that goes on", "[programs][report]") {
  const TemporaryDirectory directory;
  write_training(directory.path(), "comet", 0.5, /*has_ended=*/false);
  const Report report = report_of(directory.path());
  CHECK_THAT(report.html, ContainsSubstring("the training has not ended"));
  CHECK(count_of(report.html, "class=\"heat\"") == 2);
}

TEST_CASE("report.html of a comparison: every row, and twins apart", "[programs][report]") {
  const TemporaryDirectory directory;
  const auto& folder = directory.path();
  write_training(folder / "comet-none-seed1", "comet", 0.5);
  write_training(folder / "comet-none-seed2", "comet", 0.75);
  write_training(folder / "dense-none-seed1", "dense", 1);
  // What an earlier comparison left is no part of this one.
  write_training(folder / "comet-none-seed3", "comet", 2);
  write_training(folder / "top_k-none-seed1", "top_k", 2);
  const auto run = [](double factor) {
    return Json{{"test", figures_of(factor)},
                {"best_epoch", 2},
                {"seconds_per_epoch", 1.5},
                {"parameters", 4711}};
  };
  const Json table = {
      {"source", hostile},
      {"seeds", {1, 2}},
      {"rows",
       {{{"gate", "comet"}, {"local_search", "none"}, {"runs", {run(0.5), run(0.75)}}},
        {{"gate", "dense"}, {"local_search", "none"}, {"runs", {run(1)}}}}}};
  const std::string text = table.dump(-1, ' ', false, Json::error_handler_t::ignore);
  for (const char* name : {"compare.json", "result.json"}) {
    INFO(name);
    std::ofstream(folder / name) << text;
    ReportWords how = words();
    how.comparison_plots = [](const std::vector<ResultRow>& rows) {
      return std::vector<Plot>{{.name = "own",
                                .data = "a\n" + std::to_string(rows.size()) + "\n",
                                .commands = "plot 'own.tsv' skip 1 using 0:1",
                                .title = "One of the program's own"}};
    };
    const Report report = report_of(folder, how);
    CHECK_THAT(report.html,
               ContainsSubstring("1.2500 +- 0.2500") &&
                   ContainsSubstring("<tr class=\"marked\"><td class=\"word\">dense</td>"));
    CHECK(count_of(report.html, "class=\"marked\"") == 1);
    CHECK_THAT(report.out, ContainsSubstring("own.tsv"));
    if (has_gnuplot()) CHECK(count_of(report.html, "<img src=\"data:") == 3);
    // Means over the seeds, by epoch.
    CHECK(content_of(folder / "report" / "losses.tsv") ==
          "epoch\tcomet\tdense\n1\t0.625\t1\n2\t0.3125\t0.5\n3\t0.208333333\t0.333333333\n");
    // A run of it has its twins beside it.
    const Report alone = report_of(folder / "comet-none-seed1");
    CHECK_THAT(alone.html, ContainsSubstring("Beside what it was compared with") &&
                               ContainsSubstring("<tr class=\"marked\"><td class=\"word\">dense"));
    std::filesystem::remove(folder / name);
  }
  CHECK_THAT(report_of(folder / "comet-none-seed1").html,
             !ContainsSubstring("Beside what it was compared with"));
}

TEST_CASE("report.html of a search: the best, the front and all trials", "[programs][report]") {
  const TemporaryDirectory directory;
  std::ofstream trials(directory.path() / "trials.jsonl");
  for (int i = 0; i < 3; ++i)
    trials << programs::to_json(
                  programs::Trial{.number = i,
                                  .rung = {},
                                  .source = "<data>",
                                  .options = {{"gate", "comet"},
                                              {"local_search", "none"},
                                              {"task_weights", {0.5, 0.5}},
                                              {"epochs", 3},
                                              {"k", i + 1},
                                              {"start", i > 0 ? Json("<near>") : Json()},
                                              {"split_seed", 1}},
                                  .epochs = 3,
                                  .best_epoch = 2,
                                  .validation_loss = 0.5 - 0.125 * i,
                                  .test_loss = 0.25,
                                  .test_measures = {{"auc", 0.75, true}},
                                  .experts_per_sample = i + 1.0,
                                  .seconds = 1,
                                  .failure = ""})
                  .dump()
           << '\n';
  trials.close();
  const Report report = report_of(directory.path());
  CHECK_THAT(report.html, ContainsSubstring("<h1>Search ") &&
                              ContainsSubstring("data: &lt;data&gt;") &&
                              ContainsSubstring("<p>3 trials</p>") &&
                              ContainsSubstring("test loss 0.2500, AUC 0.7500"));
  // Trial 2 is the best one, on the front and among all.
  CHECK(count_of(report.html,
                 "<tr><td>2</td><td>0.2500</td><td>0.2500</td><td>3.00</td><td>3</td>"
                 "<td>&lt;near&gt;</td>") == 3);
  CHECK(count_of(report.html,
                 "<tr><td>0</td><td>0.5000</td><td>0.2500</td><td>1.00</td><td>1</td>"
                 "<td></td>") == 2);
}

TEST_CASE("report: what is damaged is named", "[programs][report][error]") {
  const TemporaryDirectory directory;
  const auto refused = [&](const std::string& name, const std::string& text,
                           const std::string& reason) {
    write_training(directory.path(), "comet", 0.5);
    std::ofstream(directory.path() / name) << text;
    INFO(name << ": " << text);
    CHECK_THROWS_WITH(report_of(directory.path()), ContainsSubstring(name + ": " + reason));
    std::filesystem::remove(directory.path() / name);
  };
  refused("result.json", "[1", "is not a JSON object");
  refused("result.json", "[]", "is not a JSON object");
  refused("result.json", "{}", "is not what a training writes");
  refused("result.json", R"({"options": {"gate": 3}, "test": {}})", "is not what a training");
  refused("compare.json", R"({"seeds": [1], "rows": [{}]})", "is not what a comparison writes");
  refused("compare.json", R"({"seeds": [1], "source": "", "rows": [{"gate": "a",
      "local_search": "none", "runs": []}]})",
          "is not what a comparison writes");
  refused("metrics.jsonl", "{}\n", "is not what a training writes");

  write_training(directory.path(), "comet", 0.5);
  ReportWords other = words();
  other.results.measures = {{"bits", "bits"}};
  CHECK_THROWS_WITH(report_of(directory.path(), other),
                    ContainsSubstring("is of another program: there is no measure bits"));
}
