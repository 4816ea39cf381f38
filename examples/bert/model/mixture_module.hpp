// SPDX-License-Identifier: MIT
#pragma once

#include <comet/adapters/libtorch.hpp>

#include <bert/model/mixture.hpp>

/// \file
/// \brief For sources that include LibTorch.

namespace programs::bert {

template <class S>
struct Mixture<S>::Module {
  comet::TorchMoe moe;

  [[nodiscard]] comet::TorchMoeLayer<Layer>& typed() {
    return *moe->as<comet::TorchMoeLayer<Layer>>();
  }
};

}  // namespace programs::bert
