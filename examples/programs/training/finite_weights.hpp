// SPDX-License-Identifier: MIT
#pragma once

#include <comet/io/safetensors.hpp>

namespace programs {

/// \brief Of a model's file: what is predicted with a weight that is no number is none either.
/// \throws comet::FileError naming the tensor
void expect_finite(const comet::TensorFile& file);

}  // namespace programs
