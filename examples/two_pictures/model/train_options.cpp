// SPDX-License-Identifier: MIT
#include <two_pictures/model/train_options.hpp>

#include <algorithm>
#include <stdexcept>

namespace programs::two_pictures {
namespace {

std::vector<Option> data_options(TrainOptions& o) {
  return {
      Option("data", &o.pictures.data, "DIR",
             "pictures in the format of MNIST, packed or not: train-images-idx3-ubyte and so on\n"
             "(default Fashion-MNIST as Debian's dataset-fashion-mnist installs it)")
          .not_saved(),
      Option("second_data", &o.pictures.second_data, "DIR",
             "a second set, mixed with the first; its classes are others")
          .not_saved(),
      Option("show", &o.pictures.show, "WHAT", "two pictures on a canvas, or one alone")
          .one_of(forms())
          .not_searched(),
      Option("partners", &o.pictures.partners, "N",
             "pairs that a picture is the first of; the paper has two")
          .must_be(expected("from 1 to 1024", [](double n) { return n >= 1 && n <= 1024; }))
          .not_searched()
          .if_it([&o] { return o.pictures.show == "two"; })};
}

std::vector<Option> expert_options(ModelOptions& o) {
  return {Option("experts", &o.num_experts, "N", "number of experts").must_be(a_size())};
}

std::vector<Option> model_options(ModelOptions& o) {
  return {Option("filters", &o.filters, "N", "of an expert's first convolution").must_be(a_size()),
          Option("second_filters", &o.second_filters, "N", "of its second convolution")
              .must_be(a_size()),
          Option("kernel", &o.kernel, "N", "pixels a side of a filter").must_be(a_size()),
          Option("expert_dim", &o.expert_dim, "N", "units of an expert's dense layers")
              .must_be(a_size()),
          Option("head_dim", &o.head_dim, "N", "units of a task's dense layers").must_be(a_size())};
}

}  // namespace

TrainOptions::TrainOptions() {
  epochs = 4;
  reachability = 0.05;  // six experts: DSelect-k has codes for eight
}

ModelOptions model_of(const TrainOptions& o, const Examples& examples) {
  // Twice a filter and a pool of 2 have to leave a pixel.
  const Index side = std::min(examples.height(), examples.width());
  if (const Index most = (side - 4) / 3 + 1; o.model.kernel > most)
    throw std::invalid_argument("--kernel is " + std::to_string(o.model.kernel) +
                                ", expected at most " + std::to_string(most) + " for " +
                                std::to_string(examples.height()) + " x " +
                                std::to_string(examples.width()) + " pixels");
  ModelOptions model = o.model;
  model.height = examples.height();
  model.width = examples.width();
  model.num_tasks = examples.num_tasks();
  model.num_classes = examples.num_classes();
  model.num_experts = num_experts_of_row(o.gate, o.model.num_experts, o.k, model.num_tasks);
  return model;
}

OptionTable table_of(TrainOptions& o) {
  return OptionTable({data_options(o), choice_options(o, gates_and_dense_rows()),
                      expert_options(o.model), gate_options(o, o.model.num_experts, "epoch"),
                      schedule_options(o), model_options(o.model), run_options(o)});
}

OptionTable data_table_of(TrainOptions& o) { return OptionTable({data_options(o)}); }

void check(const TrainOptions& options) {
  TrainOptions copy = options;
  table_of(copy).check();
}

Json to_json(const TrainOptions& options) {
  TrainOptions copy = options;
  return table_of(copy).to_json();
}

TrainOptions options_from(const Json& json) {
  TrainOptions options;
  options.reachability = 0;  // what is 0 is not written
  table_of(options).read(json);
  return options;
}

}  // namespace programs::two_pictures
