// SPDX-License-Identifier: MIT
#pragma once

#include <comet/io/tensor_file.hpp>

#include <bert/model/bert.hpp>

namespace programs::bert {

/// \brief Compares sizes with those of the tensors in a pretrained file, so that a model of the
/// sizes is no larger than the file.
/// \throws FileError naming the first that differs, or a tensor that is missing
void check_sizes(const comet::TensorFile& file, const BertConfig& config);

/// \brief Sets a dense model to the weights of a pretrained safetensors file.
///
/// Names may begin with `bert.` or not, and norms may have `gamma` and `beta` for weight and bias.
/// Tensors that are not the encoder's are passed over: heads of other tasks, numbers of positions.
/// \return whether the file has a classifier; without one the model's stays as it is
/// \throws FileError naming the tensors that are missing, or the first that has another shape or
///         belongs to a larger encoder; the model is as it was then
/// \throws FileError as well if a number is not finite
template <class S>
bool load_pretrained(const comet::TensorFile& file, Bert<S>& model);

}  // namespace programs::bert
