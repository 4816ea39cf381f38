// SPDX-License-Identifier: MIT
// emit FILE: writes the layer of layer.hpp as a header, with weights in full and in eight bits.
#include <fstream>

#include <comet/inference/emit_layer.hpp>

#include <emitted/layer.hpp>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::ofstream out(argv[1]);
  const auto layer = bench::emitted_layer();
  comet::emit_cpp(layer.freeze(), out, {.name = "emitted_full"});
  comet::emit_cpp(layer.freeze(comet::Storage::int8), out, {.name = "emitted_int8"});
  return out ? 0 : 1;
}
