// SPDX-License-Identifier: MIT
#pragma once

#include <comet/kernels/portable/route.hpp>

/// \file
/// \brief The selection of a Top-k gate, shared by training, frozen gates and emitted headers.

namespace comet::detail {

/// select_top_k(h, n, k, over_all, order, weights) works on one sample: see portable/route.hpp.
using portable::select_top_k;

}  // namespace comet::detail
