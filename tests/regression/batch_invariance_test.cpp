// SPDX-License-Identifier: MIT
// In inference the bits of a sample do not depend on its batch, for any shape of a layer: Eigen's
// products alone promise nothing of the kind.
#include <vector>

#include <comet/experts/dense.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/layers/dense.hpp>
#include <comet/moe_layer.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::random_matrix;

namespace {

#ifdef NDEBUG
const std::vector<Index> dims{1, 2, 3, 5, 8, 16, 17, 33, 64, 100, 256, 300};
#else
const std::vector<Index> dims{1, 2, 3, 5, 8, 16, 17, 33};  // unoptimised products are slow
#endif

struct Part {
  Index first, count;
};

/// Ragged parts of a batch, at shifting places.
std::vector<Part> parts_of(Index num_samples) {
  std::vector<Part> parts;
  for (const Index count : {1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 19, 20, 21, 24, 31, 33, 40, 63, 64, 66})
    if (count <= num_samples) parts.push_back({(num_samples - count) * (count % 5) / 4, count});
  return parts;
}

/// Memory whose columns start at odd addresses, with a gap between them.
template <class S>
class Moved {
 public:
  Moved(const Matrix<S>& x, Index offset)
      : stride_(x.rows() + 1), memory_(std::size_t(offset + stride_ * x.cols())), offset_(offset) {
    view(x.rows(), x.cols()) = x;
  }
  auto view(Index rows, Index cols) {
    return Eigen::Map<Matrix<S>, 0, Eigen::OuterStride<>>(memory_.data() + offset_, rows, cols,
                                                          Eigen::OuterStride<>(stride_));
  }

 private:
  Index stride_;
  std::vector<S> memory_;
  Index offset_;
};

template <class S>
void check_dense(Index d, Index m, Index num_samples, const std::vector<Part>& parts) {
  Dense<S> layer({.input_dim = d, .output_dim = m, .activation = Activation::relu}, RandomKey(1));
  test::parameter(layer, "bias") = random_matrix<S>(m, 1, 2);
  Pass pass(layer);
  const Matrix<S> x = random_matrix<S>(d, num_samples, 3);
  Matrix<S> all(m, num_samples);
  layer.predict(x, all, pass);
  bool same = true;
  for (const Part part : parts) {
    Matrix<S> y(m, part.count);
    layer.predict(x.middleCols(part.first, part.count), y, pass);
    same = same && test::same_bits(y, all.middleCols(part.first, part.count));
  }
  CHECK(same);
  const Index few = std::min(num_samples, Index(23));
  for (Index offset = 1; offset < 4; ++offset) {
    Moved<S> input(x.leftCols(few), offset);
    Moved<S> output(Matrix<S>::Zero(m, few), offset);
    layer.predict(input.view(d, few), output.view(m, few), pass);
    same = same && test::same_bits(output.view(m, few), all.leftCols(few));
  }
  CHECK(same);
}

template <class S>
void check_mixture(Index d, Index m, Index k, Index num_samples, const std::vector<Part>& parts) {
  const Index n = 3;
  std::vector<TopKGate<S>> gates;
  std::vector<DenseExpert<S>> experts;
  for (std::uint64_t t = 0; t < 2; ++t)
    gates.emplace_back(TopKGateOptions{.input_dim = d, .num_experts = n, .k = k}, RandomKey(t));
  for (std::uint64_t e = 0; e < std::uint64_t(n); ++e)
    experts.emplace_back(DenseExpertOptions{.input_dim = d, .output_dim = m}, RandomKey(9).fold(e));
  const MoeLayer layer(gates, experts);
  Pass pass(layer);
  const Matrix<S> x = random_matrix<S>(d, num_samples, 3);
  Matrix<S> all(m, 2 * num_samples);
  layer.predict(x, all, pass);
  const auto same_as_all = [&](const auto& y, Index first, Index count) {
    return test::same_bits(y.leftCols(count), all.middleCols(first, count)) &&
           test::same_bits(y.rightCols(count), all.middleCols(num_samples + first, count));
  };
  bool same = true;
  for (const Part part : parts) {
    Matrix<S> y(m, 2 * part.count);
    layer.predict(x.middleCols(part.first, part.count), y, pass);
    same = same && same_as_all(y, part.first, part.count);
  }
  CHECK(same);
  const Index few = std::min(num_samples, Index(11));
  for (Index offset = 1; offset < 4; ++offset) {
    Moved<S> input(x.leftCols(few), offset);
    Moved<S> output(Matrix<S>::Zero(m, 2 * few), offset);
    layer.predict(input.view(d, few), output.view(m, 2 * few), pass);
    same = same && same_as_all(output.view(m, 2 * few), 0, few);
  }
  CHECK(same);
}

}  // namespace

TEMPLATE_TEST_CASE("Dense: a sample's bits do not depend on its batch", "[bits]",
                   COMET_TEST_SCALARS) {
  for (const Index d : dims)
    for (const Index m : dims) {
      CAPTURE(d, m);
      check_dense<TestType>(d, m, 67, parts_of(67));
    }
}

TEMPLATE_TEST_CASE("MoeLayer: a sample's bits do not depend on its batch", "[bits]",
                   COMET_TEST_SCALARS) {
  for (const Index d : dims)
    for (const Index m : dims) {
      CAPTURE(d, m);
      // k = n serves every sample with every expert, which skips the gather.
      check_mixture<TestType>(d, m, 1, 67, parts_of(67));
      check_mixture<TestType>(d, m, 3, 21, parts_of(21));
    }
}

TEMPLATE_TEST_CASE("large batches: a sample's bits do not depend on what is beside it", "[bits]",
                   COMET_TEST_SCALARS) {
#ifdef NDEBUG
  const std::vector<Index> shapes{1, 3, 17, 100, 256};
#else
  const std::vector<Index> shapes{1, 3, 17};
#endif
  for (const Index d : shapes)
    for (const Index m : shapes) {
      CAPTURE(d, m);
      const std::vector<Part> parts{{3, 509}, {2, 510}, {1, 511}, {200, 67}, {511, 1}};
      check_dense<TestType>(d, m, 512, parts);
      check_mixture<TestType>(d, m, 2, 512, parts);
    }
}
