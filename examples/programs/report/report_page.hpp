// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <programs/base/json.hpp>
#include <programs/report/plots.hpp>
#include <programs/report/result_table.hpp>

/// \file
/// \brief What a training, a comparison or a search wrote, as a page for a browser.

namespace programs {

/// \brief How a program speaks of what a folder holds.
struct ReportWords {
  PlotWords plots;
  ResultWords results;
  /// Whether a row of a comparison is no mixture, but what mixtures are measured by.
  std::function<bool(const std::string& row)> is_twin;
  /// What else there is to draw of a comparison; may be empty.
  std::function<std::vector<Plot>(const std::vector<ResultRow>&)> comparison_plots = {};
};

/// What a folder holds, as far as a page shows it: what is empty is not there.
struct ReportContent {
  std::filesystem::path folder;
  Json result = {};                      ///< of a training
  std::string paths = {};                ///< of a few rows through its gates, as HTML
  std::vector<ResultRow> rows = {};      ///< of a comparison, that the training may be part of
  std::vector<std::int64_t> seeds = {};  ///< of these rows
  std::string source = {};               ///< of their data
  std::vector<Trial> trials = {};        ///< of a search
  std::vector<Plot> plots = {};
  std::vector<std::string> pictures = {};  ///< SVG of each plot; empty if it was not drawn
};

/// \brief The page: what it was made of, tables, pictures. A plot without a picture is a table.
/// \throws Json::exception if the result is not what a training writes
[[nodiscard]] std::string report_page(const ReportContent& content, const ReportWords& words);

}  // namespace programs
