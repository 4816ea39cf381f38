// SPDX-License-Identifier: MIT
#include <comet/instances.hpp>

void comet::detail::instances_need_the_same_march_and_eigen(CompiledHere) {}
