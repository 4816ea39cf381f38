// SPDX-License-Identifier: MIT
// A stranger's program: whichever way the library came, it compiles, links and runs.
#include <cstdio>
#include <thread>

#include <comet/core/random.hpp>
#include <comet/core/types.hpp>
#include <comet/version.hpp>

int main() {
  comet::Matrix<float> x(4, 3);
  comet::RandomKey(0).fill_uniform(x, -1.0, 1.0);
  float total = 0;
  std::thread([&] { total = comet::ConstMatrixView<float>(x).cwiseAbs().sum(); }).join();
  std::printf("comet %d.%d.%d\n", COMET_VERSION_MAJOR, COMET_VERSION_MINOR, COMET_VERSION_PATCH);
  return total > 0.0F && total < 12.0F ? 0 : 1;
}
