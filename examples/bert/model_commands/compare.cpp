// SPDX-License-Identifier: MIT
#include <programs/commands/compare.hpp>

#include <bert/model/study_data.hpp>
#include <bert/model/train_options.hpp>
#include <bert/model_commands/commands.hpp>
#include <bert/model_commands/run.hpp>

namespace programs::bert {

void add_compare(CLI::App& program, const Console& console) {
  programs::add_compare<DistilOptions, StudyData>(
      program, console,
      {.what = "Distil several students of one teacher and print one table",
       .data = "task",
       .gates = {teacher_row, dense, dense_half, dense_one, "hash", "top_k", "comet",
                 "comet_search", "comet_spread"},
       .rows = row_names(),
       .rows_help = "which gates and dense models; comet_spread is comet with a reward for even "
                    "use,\ncomet_search comet with the relaxed local search, comet_sentence "
                    "comet asked once a sentence,\ndense_768 a dense model of so many units, "
                    "teacher is not trained",
       .variants = {{"comet_spread", {{"gate", "comet"}, {"spread", .1}}},
                    {"comet_search", {{"gate", "comet"}, {"local_search", "relaxed"}}}},
       .by_name = row_by_name,
       .remark =
           [](const DistilOptions& o) {
             return o.route_by == by_sentence ? "gates by sentence" : "";
           },
       .fits = {{teacher_row, judge_teacher}},
       .is_dense = is_dense,
       .twin = twin_of,
       .results = result_words(),
       .more = {"split_seed"},
       .keeps_models = true});
}

}  // namespace programs::bert
