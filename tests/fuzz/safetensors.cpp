// SPDX-License-Identifier: MIT
// Files of tensors: a FileError, or tensors that lie within the file. Each input is read as a file,
// and as a header to which the right length and some data are added.
#include <cstring>
#include <string>
#include <string_view>

#include <comet/io/safetensors.hpp>

#include <fuzz/fuzz.hpp>

namespace {

using comet::fuzz::expect;

struct SmallModel {
  using Scalar = float;
  comet::Parameter<float> weight{2, 3};
  comet::Parameter<float> bias{3, 1};

  template <class F>
  void visit(F&& f) const {
    f("weight", weight);
    f("bias", bias);
  }
};

void read(std::string_view content) {
  const comet::fuzz::MemoryFile memory(content);
  try {
    const comet::TensorFile file(memory.path());
    std::size_t sum = 0;
    unsigned total = 0;
    for (const comet::Tensor& tensor : file.tensors()) {
      expect(file.find(tensor.name) != nullptr, "a tensor is found by its name");
      sum += tensor.bytes.size();
      for (const std::byte byte : tensor.bytes) total += unsigned(byte);  // reads every byte
      try {
        expect(file.values<float>(tensor.name).size() * sizeof(float) == tensor.bytes.size(),
               "all values of a tensor are read");
      } catch (const comet::FileError&) {
        expect(tensor.dtype != "F32", "floats are read");
      }
    }
    expect(sum <= content.size() && total <= 255 * content.size(), "tensors lie in the file");
    SmallModel model;
    const SmallModel before = model;
    try {
      comet::load_parameters(file, model);
    } catch (const comet::FileError&) {
      expect(model.weight == before.weight && model.bias == before.bias,
             "a file that is refused changes nothing");
    }
  } catch (const comet::FileError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  read(input);
  if (size == 0) return 0;
  const std::uint64_t length = size - 1;
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  read(file.append(input.substr(1)).append(data[0], '\x3f'));
  return 0;
}
