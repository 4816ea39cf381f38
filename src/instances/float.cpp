// SPDX-License-Identifier: MIT
#include <comet/instances.hpp>

namespace comet {
#define COMET_DEFINE_INSTANCE(...) template __VA_ARGS__
COMET_EACH_INSTANCE(COMET_DEFINE_INSTANCE, float)
}  // namespace comet
