// SPDX-License-Identifier: MIT
#include <programs/commands/compare.hpp>

#include <optional>
#include <ostream>
#include <utility>

#include <programs/base/files.hpp>
#include <programs/base/json.hpp>

namespace programs::detail {

FileLock hold_comparison(const std::filesystem::path& folder, const char* table) {
  make_directories(folder);
  std::optional<FileLock> held = FileLock::try_for(folder / "lock");
  if (!held)
    throw FileError(folder, "another comparison is under way in it; give each an --out of its own");
  remove_unfinished(folder, {table_in_words, table});
  return std::move(*held);
}

void write_comparison(const std::filesystem::path& folder, const char* table,
                      const ComparisonHead& head, const std::vector<ResultRow>& rows,
                      const ResultWords& words, const Console& console) {
  make_directories(folder);
  std::string title = std::string(head.data) + ": " + head.source + ", " + head.length +
                      (head.remark.empty() ? "" : ", " + head.remark) + ", seeds:";
  for (const std::int64_t seed : head.seeds) title += ' ' + std::to_string(seed);
  write_atomically(folder / table_in_words, title + "\n\n" + result_markdown(rows, words));
  const Json json = {{"source", head.source}, {"seeds", head.seeds}, {"rows", to_json(rows)}};
  write_atomically(folder / table, json.dump(2) + "\n");
  console.out << title << '\n' << result_table(rows, words);
}

}  // namespace programs::detail
