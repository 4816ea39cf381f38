// SPDX-License-Identifier: MIT
#include <string>

#include <movielens/data/table_options.hpp>

#include <examples/movielens/data/tables.hpp>
#include <support/catch.hpp>

using programs::movielens::test::columns;
using programs::movielens::test::duplicates;
using programs::movielens::test::refusal_of;
using programs::movielens::test::rows_in;
using programs::movielens::test::Strings;

TEST_CASE("--duplicates: the first, the last, the mean or none", "[movielens][duplicates]") {
  const std::string table = "1,1,3,0\n2,1,1,0\n1,2,5,0\n1,1,4,0\n2,1,2,0\n1,1,0.5,0\n";
  CHECK(rows_in(table, duplicates("first")) == Strings{"1 1 30", "1 2 50", "2 1 10"});
  CHECK(rows_in(table, duplicates("last")) == Strings{"1 1 5", "1 2 50", "2 1 20"});
  CHECK(rows_in(table, duplicates("mean")) == Strings{"1 1 25", "1 2 50", "2 1 15"});
  const std::string refusal =
      ":4: user \"1\" rates item \"1\" a second time, first in line 1; --duplicates first, last or "
      "mean makes one of them";
  CHECK(refusal_of(table) == refusal);
  CHECK(refusal_of(table, duplicates("error")) == refusal);
  CHECK(refusal_of(table, duplicates("min")) ==
        "--duplicates is \"min\", expected error, first, last or mean");
}

TEST_CASE("--duplicates: Book-Crossing's may be chosen, too", "[movielens][duplicates]") {
  const std::string table = "User-ID;ISBN;Book-Rating\n1;a;3\n1;a;8\n";
  CHECK(rows_in(table) == Strings{"1 a 30"});
  CHECK(rows_in(table, duplicates("last")) == Strings{"1 a 80"});
  CHECK_THAT(refusal_of(table, duplicates("error")), StartsWith(":3: user \"1\" rates"));
}

TEST_CASE("given_or_saved: what a model was trained with, unless told otherwise",
          "[movielens][duplicates]") {
  auto saved = programs::movielens::test::not_rated("-1", {"a", "b", "c"});
  saved.duplicates = "last";
  auto of_model = saved;
  of_model.has_saved_columns = true;
  CHECK(programs::movielens::given_or_saved({}, saved) == of_model);
  auto with_columns = saved;
  with_columns.columns = {"1", "2", "3"};
  CHECK(programs::movielens::given_or_saved(columns({"1", "2", "3"}), saved) == with_columns);
  CHECK_THAT(refusal_of("1,2,3,4\n", programs::movielens::given_or_saved({}, saved)),
             EndsWith("; the model was trained with them, this table needs its own"));
  CHECK(programs::movielens::given_or_saved(duplicates("mean"), saved).duplicates == "mean");
}
