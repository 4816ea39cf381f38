// SPDX-License-Identifier: MIT
#include <programs/commands/compare.hpp>

#include <ostream>

#include <programs/base/files.hpp>
#include <programs/base/json.hpp>

namespace programs::detail {

void write_comparison(const std::filesystem::path& folder, const char* table,
                      const ComparisonHead& head, const std::vector<ResultRow>& rows,
                      const ResultWords& words, const Console& console) {
  make_directories(folder);
  write_atomically(folder / "compare.md", result_markdown(rows, words));
  const Json json = {{"source", head.source}, {"seeds", head.seeds}, {"rows", to_json(rows)}};
  write_atomically(folder / table, json.dump(2) + "\n");
  console.out << head.data << ": " << head.source << ", " << head.length << ", seeds:";
  for (const std::int64_t seed : head.seeds) console.out << ' ' << seed;
  console.out << '\n' << result_table(rows, words);
}

}  // namespace programs::detail
