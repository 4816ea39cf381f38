// SPDX-License-Identifier: MIT
#include <string>
#include <string_view>

#include <next_character/data/kinds_of_place.hpp>

#include <support/catch.hpp>

using namespace programs::next_character;

namespace {

/// A letter for each character: i n 0 s c p and a blank.
std::string letters_of(std::string_view text) {
  constexpr std::string_view letters = "in0scp ";
  std::string result;
  for (const KindOfPlace kind : kinds_of_place(text)) result += letters[std::size_t(kind)];
  return result;
}

}  // namespace

TEST_CASE("kinds_of_place: every character of a program has one", "[next_character][data]") {
  CHECK(letters_of("  x1 = 12.5e3  # a 'b'\n") == "iinn p 000000  ccccccc ");
  CHECK(letters_of("f('a\\'b', \"c\")\ng") == "npssssssp sssp n");
}
