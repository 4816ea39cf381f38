// SPDX-License-Identifier: MIT
#include <memory>
#include <ostream>
#include <string>

#include <CLI/CLI.hpp>

#include <bert/model/build_model.hpp>
#include <bert/model/evaluation.hpp>
#include <bert/model/model_file.hpp>
#include <bert/model/network.hpp>
#include <bert/model/train_options.hpp>
#include <bert/model_commands/commands.hpp>
#include <bert/model_commands/run.hpp>
#include <programs/base/files.hpp>
#include <programs/base/text_table.hpp>
#include <programs/commands/command_line.hpp>

namespace programs::bert {
namespace {

void moefy(const DistilOptions& o, const std::string& file, const Console& console) {
  check(o);
  refuse_input("--out", file, {files_read(o)});
  const StudyData data = load(o);
  check_units(o, data.model->config().intermediate);
  use_one_torch_thread();
  const Bert<float> student = start_model(o, data);
  save_model(file, data.whole(student), o, data.whole_config(), fingerprint_of(data),
             data.vocabulary, {});
  const Figures figures = evaluate(student, data.model.get(), data, data.dev, Index(o.batch_size));
  console.out << file << ": " << o.gate << ", "
              << formatted("%.0f multiply-adds a token, the teacher %.0f\n",
                           figures.measure("multiply_adds"),
                           double(data.model->config().layers) *
                               dense_cost(data.model->config(), data.model->config().intermediate))
              << formatted("%s on the dev rows, untrained: %.4f\n",
                           figures.measures.front().name.c_str(), figures.measure("score"));
}

}  // namespace

void add_moefy(CLI::App& program, const Console& console) {
  auto* command = program.add_subcommand(
      "moefy", "Make a student of a teacher, experts of its feed-forward blocks, untrained");
  auto o = std::make_shared<DistilOptions>();
  auto file = std::make_shared<std::string>("student.safetensors");
  const OptionTable table = table_of(*o);
  add_options(*command, table,
              {"data", "task", "pretrained", "max_length", "train_rows", "gate", "teacher",
               "experts", "shared", "own", "units", "importance_share", "route_by", "k", "gamma",
               "split_scale", "batch_size", "seed", "threads"});
  command->add_option("--out", *file, "for the student; distil takes it by --from-pretrained")
      ->type_name("FILE")
      ->capture_default_str()
      ->check(what_is_empty);
  command->callback([o, file, console] { moefy(*o, *file, console); });
}

}  // namespace programs::bert
