// SPDX-License-Identifier: MIT
#include <two_pictures/model/named_examples.hpp>

#include <cstddef>
#include <string>
#include <utility>

#include <programs/training/decision_paths.hpp>
#include <two_pictures/data/batches.hpp>

namespace programs::two_pictures {
namespace {

std::string name_of(const Examples& examples, Index example) {
  std::string name = "test example " + std::to_string(example) + ": class ";
  for (Index task = 0; task < examples.num_tasks(); ++task)
    name += (task == 0 ? "" : " and ") + std::to_string(examples.label(task, example));
  return name;
}

}  // namespace

Json decision_paths(const Model& model, const Dataset& data) {
  constexpr std::size_t count = 4;
  Batches batches(data.test, count);
  const Batch batch = batches[0];
  Json list = Json::array();
  for (Index i = 0; i < Index(batch.size()); ++i) {
    Json path =
        decision_path<Model::Scalar>(name_of(data.test, i), model.gates(), batch.pixels.col(i));
    if (path.is_null()) return Json::array();
    list.push_back(std::move(path));
  }
  return list;
}

}  // namespace programs::two_pictures
