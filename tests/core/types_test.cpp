// SPDX-License-Identifier: MIT
#include <array>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/types.hpp>
#include <unsupported/Eigen/CXX11/Tensor>

#include <support/catch.hpp>

using comet::as_matrix;
using comet::ConstMatrixView;
using comet::Index;
using comet::Matrix;
using comet::MatrixView;
using comet::Vector;

namespace {

// Functions as the library has them: a view by value, so that the argument decides about the copy.
const float* address(const ConstMatrixView<float>& x) { return x.data(); }
float* address_out(MatrixView<float> x) { return x.data(); }
void fill(MatrixView<float> y, float value) { y.setConstant(value); }

Matrix<float> counted(Index rows, Index cols) {
  Matrix<float> x(rows, cols);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(i);
  return x;
}

}  // namespace

TEST_CASE("a read-only view shares the memory of what it is given", "[types]") {
  Matrix<float> x = counted(4, 6);
  const Matrix<float>& constant = x;
  CHECK(address(x) == x.data());
  CHECK(address(constant) == x.data());

  SECTION("blocks") {
    CHECK(address(x.middleCols(2, 3)) == x.data() + 8);
    CHECK(address(x.block(1, 2, 2, 3)) == x.data() + 9);
    CHECK(address(constant.leftCols(1)) == x.data());
    const ConstMatrixView<float> view = x.block(1, 2, 2, 3);
    CHECK(view.outerStride() == 4);
    CHECK(view(1, 2) == x(2, 4));
  }
  SECTION("maps, the memory of a C-order array of shape (samples, features)") {
    const std::vector<float> array{1, 2, 3, 4, 5, 6};
    const Eigen::Map<const Matrix<float>> map(array.data(), 3, 2);
    CHECK(address(map) == array.data());
    CHECK(ConstMatrixView<float>(map)(2, 1) == 6.0F);
  }
  SECTION("maps with a gap between columns") {
    const Eigen::Map<const Matrix<float>, 0, Eigen::OuterStride<>> map(x.data(), 3, 5,
                                                                       Eigen::OuterStride<>(4));
    const ConstMatrixView<float> view = map;
    CHECK(view.data() == x.data());
    CHECK(view(2, 4) == x(2, 4));
  }
  SECTION("a column, a vector, a matrix of fixed size") {
    CHECK(address(x.col(3)) == x.data() + 12);
    const Vector<float> v = x.col(1);
    CHECK(address(v) == v.data());
    const Eigen::Matrix3f fixed = Eigen::Matrix3f::Identity();
    CHECK(address(fixed) == fixed.data());
  }
  SECTION("views of views") {
    const ConstMatrixView<float> view = x;
    CHECK(address(view) == x.data());
    CHECK(address(view.middleCols(1, 2)) == x.data() + 4);
    MatrixView<float> writable = x;
    CHECK(address(writable) == x.data());
  }
}

TEST_CASE("a read-only view takes the value of an expression", "[types]") {
  const Matrix<float> x = counted(3, 2);
  const auto corner = [](const ConstMatrixView<float>& v) { return v(2, 1); };
  CHECK(corner(x * 2.0F) == 10.0F);
  CHECK(corner(x + x) == 10.0F);
  CHECK(corner(Matrix<float>::Ones(3, 3) * x) == 12.0F);
  CHECK(corner(Matrix<double>::Ones(3, 2).cast<float>()) == 1.0F);
  CHECK(corner(x.array().square().matrix()) == 25.0F);
}

TEST_CASE("a view may be empty", "[types]") {
  const Matrix<float> no_samples(4, 0);
  CHECK(ConstMatrixView<float>(no_samples).rows() == 4);
  CHECK(ConstMatrixView<float>(no_samples).cols() == 0);
  Matrix<float> x = counted(4, 3);
  fill(x.leftCols(0), 7);
  CHECK(x == counted(4, 3));
}

TEST_CASE("a writable view writes where the caller's memory is", "[types]") {
  Matrix<float> y = counted(4, 6);
  CHECK(address_out(y) == y.data());
  CHECK(address_out(y.middleCols(2, 3)) == y.data() + 8);
  CHECK(address_out(y.col(1)) == y.data() + 4);

  fill(y.block(1, 1, 2, 2), -1);
  CHECK(y(1, 1) == -1.0F);
  CHECK(y(2, 2) == -1.0F);
  CHECK(y(0, 1) == 4.0F);   // above the block
  CHECK(y(3, 2) == 11.0F);  // below it

  std::array<float, 6> array{};
  Eigen::Map<Matrix<float>> map(array.data(), 3, 2);
  fill(map, 5);
  CHECK(array[5] == 5.0F);

  MatrixView<float> copy_of_view = MatrixView<float>(y);
  CHECK(copy_of_view.data() == y.data());
  fill(copy_of_view, 2);
  CHECK(y == Matrix<float>::Constant(4, 6, 2));
}

TEST_CASE("a writable view cannot be made from read-only memory", "[types]") {
  static_assert(!std::is_constructible_v<MatrixView<float>, const Matrix<float>&>);
  static_assert(std::is_constructible_v<MatrixView<float>, Matrix<float>&>);
  static_assert(std::is_constructible_v<ConstMatrixView<double>, const Matrix<double>&>);
  SUCCEED();
}

TEST_CASE("a gradient that is not wanted is an empty view", "[types]") {
  const auto wanted = [](MatrixView<float> dx) { return dx.size() > 0; };
  CHECK_FALSE(wanted(comet::no_gradient));
  Matrix<float> none, some(2, 3);
  CHECK_FALSE(wanted(none));
  CHECK(wanted(some));
}

TEST_CASE("tensors go in and out without a copy", "[types]") {
  SECTION("rank 2: features x samples") {
    Eigen::Tensor<float, 2> tensor(3, 5);
    tensor.setZero();
    tensor(2, 4) = 8;
    auto matrix = as_matrix(tensor);
    CHECK(matrix.data() == tensor.data());
    CHECK(matrix.rows() == 3);
    CHECK(matrix.cols() == 5);
    CHECK(matrix(2, 4) == 8.0F);
    CHECK(address(matrix) == tensor.data());
    fill(as_matrix(tensor), 3);
    CHECK(tensor(0, 0) == 3.0F);
  }
  SECTION("rank 3: features x sequence x batch, one column per position") {
    Eigen::Tensor<double, 3> tensor(2, 3, 4);
    tensor.setZero();
    tensor(1, 2, 3) = 9;
    tensor(0, 1, 2) = 7;
    const auto matrix = as_matrix(tensor);
    CHECK(matrix.data() == tensor.data());
    CHECK(matrix.rows() == 2);
    CHECK(matrix.cols() == 12);
    CHECK(matrix(1, 11) == 9.0);
    CHECK(matrix(0, 2 * 3 + 1) == 7.0);
  }
  SECTION("maps of tensors") {
    std::array<float, 24> memory{};
    memory[23] = 1;
    Eigen::TensorMap<Eigen::Tensor<float, 3>> writable(memory.data(), 2, 3, 4);
    CHECK(as_matrix(writable).data() == memory.data());
    fill(as_matrix(writable), 4);
    CHECK(memory[0] == 4.0F);
    const Eigen::TensorMap<const Eigen::Tensor<float, 2>> constant(memory.data(), 6, 4);
    CHECK(as_matrix(constant).data() == memory.data());
    CHECK(address(as_matrix(constant)) == memory.data());
  }
  SECTION("a constant tensor gives a read-only matrix") {
    const Eigen::Tensor<float, 2> tensor = Eigen::Tensor<float, 2>(2, 2).setConstant(6);
    const auto matrix = as_matrix(tensor);
    static_assert(std::is_same_v<decltype(matrix.data()), const float*>);
    CHECK(matrix.data() == tensor.data());
    CHECK(matrix.sum() == 24.0F);
  }
}
