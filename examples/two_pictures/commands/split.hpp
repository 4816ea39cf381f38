// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <programs/base/console.hpp>
#include <programs/commands/other_data.hpp>
#include <two_pictures/commands/run.hpp>
#include <two_pictures/data/dataset.hpp>
#include <two_pictures/model/model_file.hpp>

namespace programs::two_pictures {

/// \brief The pictures that a command names, in the parts that the model's training had.
/// Says if they are others than those of the training.
/// \throws FileError if they are not such as the model is of
[[nodiscard]] inline Dataset data_for(const ModelFile& file, const TrainOptions& data,
                                      const Console& console) {
  TrainOptions options = file.options();
  options.pictures.data = data.pictures.data;
  options.pictures.second_data = data.pictures.second_data;
  Dataset dataset = load(options);
  file.check_examples(dataset);
  tell_other_data(file.content(), fingerprint_of(dataset), dataset.source, console);
  return dataset;
}

/// \param name  "train", "validation" or "test"
[[nodiscard]] inline const Examples& part_of(const Dataset& data, const std::string& name) {
  return name == "train" ? data.train : name == "validation" ? data.validation : data.test;
}

}  // namespace programs::two_pictures
