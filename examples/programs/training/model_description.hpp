// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>

#include <comet/io/tensor_file.hpp>

#include <programs/base/json.hpp>

namespace programs {

/// \brief Hands to `read` what a model's file says of the model, beside its tensors.
/// \param key   of the metadata, which names the program
/// \param read  may throw what JSON that is not as expected throws, and std::invalid_argument
/// \throws comet::FileError if the file is of no such model, or its description is damaged
void read_model_description(const comet::TensorFile& file, const std::string& key,
                            const std::function<void(const Json&)>& read);

}  // namespace programs
