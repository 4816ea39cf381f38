// SPDX-License-Identifier: MIT
// Tensors of random names, types and shapes go into a file and come back, bit for bit.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <comet/core/random.hpp>
#include <comet/io/safetensors.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using namespace comet;

namespace {

/// Names as nobody would choose them: quotes, line ends, letters of three bytes.
std::string draw_name(RandomKey key, std::size_t number) {
  static const std::vector<std::string> letters = {"a", ".", "\"", "\\", "\n", "ü", "語", " ", "/"};
  std::string name = std::to_string(number);
  for (std::uint64_t i = key.index(0, 12); i > 0; --i)
    name += letters[key.index(i, letters.size())];
  return name;
}

}  // namespace

TEST_CASE("tensors of any name, type and shape come back from a file, bit for bit") {
  const int seed = GENERATE(range(0, 40));
  const RandomKey key = RandomKey(8).fold(seed);
  std::vector<std::vector<std::byte>> memory;
  std::vector<Tensor> tensors;
  for (std::size_t i = 0, count = std::size_t(key.index(0, 9)); i < count; ++i) {
    const RandomKey own = key.fold(i);
    const auto& type = detail::dtypes[own.index(0, detail::dtypes.size())];
    std::vector<Index> shape;
    std::size_t bytes = type.size;
    for (std::uint64_t rank = own.index(1, 4); rank > 0; --rank) {
      shape.push_back(Index(own.index(10 + rank, 5)));  // sizes of 0 included
      bytes *= std::size_t(shape.back());
    }
    memory.emplace_back(bytes);
    for (std::size_t b = 0; b < bytes; ++b) memory.back()[b] = std::byte(own.bits(100 + b) & 0xff);
    tensors.push_back({draw_name(own.fold(1), i), std::string(type.name), shape, {}});
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) tensors[i].bytes = memory[i];
  const Metadata texts = {{draw_name(key.fold(98), 0), draw_name(key.fold(99), 1)}};

  const comet::test::TemporaryDirectory directory;
  const auto path = directory.path() / "file";
  save_tensors(path, tensors, texts);
  const TensorFile file(path);
  REQUIRE(file.tensors().size() == tensors.size());
  CHECK(file.metadata().at(texts.begin()->first) == texts.begin()->second);
  for (const Tensor& tensor : tensors) {
    const Tensor& found = file.tensor(tensor.name);
    CHECK(found.dtype == tensor.dtype);
    CHECK(found.shape == tensor.shape);
    REQUIRE(found.bytes.size() == tensor.bytes.size());
    CHECK((tensor.bytes.empty() ||
           std::memcmp(found.bytes.data(), tensor.bytes.data(), tensor.bytes.size()) == 0));
  }
  // What was read can be written again: the same bytes.
  save_tensors(directory.path() / "again", file.tensors(), file.metadata());
  CHECK(comet::test::content_of(directory.path() / "again") == comet::test::content_of(path));
}
