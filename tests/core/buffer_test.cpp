// SPDX-License-Identifier: MIT
#include <cstdint>
#include <utility>

#include <comet/core/buffer.hpp>

#include <support/catch.hpp>

using comet::Buffer;

TEST_CASE("a buffer takes any shape and keeps its memory while it shrinks") {
  Buffer<double> buffer;
  CHECK(buffer.matrix().size() == 0);
  auto first = buffer.shape(4, 5);
  CHECK(first.rows() == 4);
  CHECK(first.cols() == 5);
  first.setConstant(3);
  const double* const memory = first.data();
  CHECK(buffer.shape(2, 3).data() == memory);
  CHECK(buffer.matrix().rows() == 2);
  CHECK(buffer.shape(5, 4).data() == memory);
  CHECK(std::as_const(buffer).matrix().sum() == 60.0);
  CHECK(buffer.shape(7, 0).size() == 0);
  CHECK(buffer.shape(100, 100).size() == 10000);
}

TEST_CASE("copies of a buffer are deep") {
  Buffer<float> buffer;
  buffer.shape(2, 2).setConstant(1);
  Buffer<float> copy = buffer;
  copy.matrix().setConstant(2);
  CHECK(buffer.matrix().sum() == 4.0F);
  CHECK(copy.matrix().sum() == 8.0F);
}

TEST_CASE("numbers in a row of memory are aligned as Eigen's own") {
  for (int repeat = 1; repeat < 20; ++repeat) {
    const comet::AlignedVector<float> values(std::size_t(3 * repeat));
    CHECK(reinterpret_cast<std::uintptr_t>(values.data()) % EIGEN_MAX_ALIGN_BYTES == 0);
  }
}
