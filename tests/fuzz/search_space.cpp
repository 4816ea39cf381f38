// SPDX-License-Identifier: MIT
// Search spaces as JSON: a FileError, or a space whose draws stay within what it says.
#include <stdexcept>
#include <string_view>

#include <comet/core/random.hpp>

#include <movielens/model/train_options.hpp>
#include <programs/base/file_error.hpp>
#include <programs/study/search_space.hpp>

#include <fuzz/fuzz.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const comet::fuzz::MemoryFile file({reinterpret_cast<const char*>(data), size});
  try {
    programs::movielens::TrainOptions defaults;
    const auto space = programs::SearchSpace::read(file.path(), table_of(defaults));
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      programs::movielens::TrainOptions drawn;
      table_of(drawn).set(space.sample(comet::RandomKey(seed)));
      try {
        programs::movielens::check(drawn);
      } catch (const std::invalid_argument& refused) {
        // Bounds were checked one by one; the two that depend on another option may still clash.
        const std::string_view what = refused.what();
        comet::fuzz::expect(what.starts_with("--k ") || what.starts_with("--search-temp"),
                            "a draw is as right as its bounds");
      }
    }
  } catch (const programs::FileError&) {
  }
  return 0;
}
