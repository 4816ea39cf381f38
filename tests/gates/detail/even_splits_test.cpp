// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <comet/gates/any.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/gates/normalized_input.hpp>
#include <comet/local_search/permuted_gate.hpp>

#include <support/catch.hpp>
#include <support/gates.hpp>
#include <support/model.hpp>

using namespace comet;
using comet::test::parameter;
using comet::test::random_matrix;

namespace {

/// How many samples have each leaf of tree j as their first choice: the side of every split's plane
/// decides, whatever its width.
template <class S>
std::vector<Index> loads(const CometGate<S>& gate, Index j, const Matrix<S>& x,
                         const std::vector<std::uint8_t>& mask = {}) {
  const Index n = gate.num_experts(), k = gate.num_selectors();
  const portable::TreeShape shape(n);
  std::vector<Index> load(std::size_t(n), 0);
  for (Index b = 0; b < x.cols(); ++b) {
    if (!mask.empty() && mask[std::size_t(b)] == 0) continue;
    Index node = 0;
    while (!shape.is_leaf(node))
      node = 2 * node + (gate.splits().logit(node * k + j, x.col(b).data()) > S(0) ? 1 : 2);
    ++load[std::size_t(shape.leaf(node))];
  }
  return load;
}

bool is_even(const std::vector<Index>& load, Index num_samples, double factor = 2) {
  const auto [least, most] = std::minmax_element(load.begin(), load.end());
  const double even = double(num_samples) / double(load.size());
  return double(*least) >= even / factor && double(*most) <= factor * even;
}

/// Features of sizes from 1e-3 to 1e3, far from 0, skewed, some a constant, some nearly the same.
template <class S>
Matrix<S> badly_scaled(Index d, Index num_samples, std::uint64_t seed) {
  Matrix<double> x = random_matrix<double>(d, num_samples, seed);
  for (Index f = 0; f < d; ++f) {
    if (f % 4 == 1) x.row(f) = x.row(f - 1) + 1e-3 * x.row(f);
    if (f % 4 == 2) x.row(f) = (3 * x.row(f)).array().exp().matrix();
    if (f % 4 == 3) x.row(f).setConstant(7);
    const double size = std::pow(10.0, 6.0 * double(f) / double(d) - 3);
    x.row(f) = size * (x.row(f).array() + (f % 3 == 0 ? 10 : 0));
  }
  return x.template cast<S>();
}

}  // namespace

TEMPLATE_TEST_CASE("after split_evenly every leaf of every tree has its share of the samples", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const Index num_samples = 512, d = 12;
  for (const Index n : {1, 2, 3, 5, 8, 13, 16})
    for (const std::uint64_t seed : {1U, 2U, 3U})
      for (const bool scaled : {true, false}) {
        CAPTURE(n, seed, scaled);
        const Matrix<S> x =
            scaled ? random_matrix<S>(d, num_samples, seed) : badly_scaled<S>(d, num_samples, seed);
        CometGate<S> gate({.input_dim = d, .num_experts = n, .k = std::min(n, Index(3))},
                          RandomKey(seed));
        split_evenly(gate, x, RandomKey(seed));
        for (Index j = 0; j < gate.num_selectors(); ++j)
          // Whole numbers are all that is in the way; in float so is what features far from 0 lose.
          CHECK(is_even(loads(gate, j, x), num_samples, scaled || sizeof(S) == 8 ? 1.1 : 2));
      }
}

TEST_CASE("the published start, and a random one, do not share badly scaled samples out") {
  // What the test above would say without split_evenly().
  const Matrix<double> x = badly_scaled<double>(12, 512, 1);
  for (const double scale : {0.0, 0.2}) {
    const CometGate<double> gate({.input_dim = 12, .num_experts = 8, .k = 1, .split_scale = scale},
                                 RandomKey(1));
    CHECK_FALSE(is_even(loads(gate, 0, x), 512));
  }
}

TEST_CASE("split_evenly makes splits as soft as it is told, in units of gamma") {
  const Matrix<double> x = badly_scaled<double>(6, 400, 4);
  for (const double gamma : {0.1, 1.0, 10.0})
    for (const double deviation : {0.2, 5.0}) {
      CAPTURE(gamma, deviation);
      CometGate<double> gate({.input_dim = 6, .num_experts = 2, .k = 2, .gamma = gamma},
                             RandomKey(1));
      split_evenly(gate, x, RandomKey(2), deviation);
      for (Index j = 0; j < 2; ++j) {
        double square = 0, sum = 0;
        for (Index b = 0; b < 400; ++b) {
          const double logit = gate.splits().logit(j, x.col(b).data());
          sum += logit / 400;
          square += logit * logit / 400;
        }
        CHECK(std::sqrt(square - sum * sum) == Approx(deviation * gamma).epsilon(1e-6));
      }
      const auto rows = test::routed(gate, x);
      CHECK((rows.num_entries() > 790) == (deviation < 1));  // dense, or nearly decided
    }
}

TEST_CASE("in which units a feature is given does not matter to split_evenly") {
  const Matrix<double> x = random_matrix<double>(5, 300, 6);
  Matrix<double> other = x;
  const double unit = 1024;
  other.row(2) *= unit;
  const auto splits = [](const Matrix<double>& samples) {
    CometGate<double> gate({.input_dim = 5, .num_experts = 8, .k = 1}, RandomKey(1));
    split_evenly(gate, samples, RandomKey(2));
    return Matrix<double>(gate.splits().weight());
  };
  Matrix<double> expected = splits(x);
  expected.row(2) /= unit;
  CHECK(splits(other).isApprox(expected, 1e-9));
}

TEST_CASE("split_evenly does not look at padding, and follows from its key") {
  Matrix<double> x = random_matrix<double>(4, 300, 1);
  std::vector<std::uint8_t> mask(300, 1);
  Matrix<double> live(4, 0);
  for (Index b = 0; b < 300; ++b) {
    if (b % 3 == 0) {
      mask[std::size_t(b)] = 0;
      x.col(b).setConstant(std::numeric_limits<double>::quiet_NaN());
    } else {
      live.conservativeResize(4, live.cols() + 1);
      live.rightCols(1) = x.col(b);
    }
  }
  const CometGate<double> start({.input_dim = 4, .num_experts = 8}, RandomKey(1));
  CometGate<double> padded = start, alone = start, other = start;
  split_evenly(padded, Samples<double>(x, {}, mask), RandomKey(2));
  split_evenly(alone, live, RandomKey(2));
  split_evenly(other, live, RandomKey(3));
  CHECK(test::same_bits(test::values_of(padded), test::values_of(alone)));
  CHECK_FALSE(test::same_bits(test::values_of(padded), test::values_of(other)));
  CHECK_FALSE(test::same_bits(padded.splits().weight().col(0), padded.splits().weight().col(1)));
  CHECK(test::same_bits(padded.leaves().weight(), start.leaves().weight()));
}

TEST_CASE("samples that are equal stay together, and planes stay finite") {
  Matrix<double> x(2, 40);
  for (Index b = 0; b < 40; ++b) x.col(b).setConstant(double(b % 2));
  CometGate<double> gate({.input_dim = 2, .num_experts = 8, .k = 1}, RandomKey(1));
  split_evenly(gate, x, RandomKey(2));
  CHECK(gate.splits().weight().allFinite());
  CHECK(gate.splits().bias().allFinite());
  auto load = loads(gate, 0, x);
  std::sort(load.begin(), load.end());
  CHECK(load == std::vector<Index>{0, 0, 0, 0, 0, 0, 20, 20});
  // Nothing but constants: no plane can tell samples apart, and none is made up from rounding.
  split_evenly(gate, Matrix<double>::Constant(2, 40, 0.1), RandomKey(2));
  CHECK(gate.splits().weight().isZero(0));
}

TEST_CASE("split_evenly goes through what wraps a gate") {
  const Matrix<double> x = badly_scaled<double>(5, 256, 1);
  const CometGateOptions options{.input_dim = 5, .num_experts = 8, .k = 1};
  const CometGate<double> start(options, RandomKey(1));
  CometGate<double> bare = start;
  split_evenly(bare, x, RandomKey(2));
  AnyGate<double> any(start);
  split_evenly(any, x, RandomKey(2));
  PermutedGate permuted(start);
  split_evenly(permuted, x, RandomKey(2));
  CHECK(test::same_bits(test::values_of(any), test::values_of(bare)));
  CHECK(test::same_bits(test::values_of(permuted), test::values_of(bare)));
  NormalizedInput normalized(start);
  split_evenly(normalized, x, RandomKey(2));
  CHECK_FALSE(test::same_bits(test::values_of(normalized), test::values_of(bare)));
  Matrix<double> features = x;
  for (Index b = 0; b < x.cols(); ++b) {
    const auto centred = (x.col(b).array() - x.col(b).mean()).eval();
    features.col(b) = centred / std::sqrt(centred.square().mean() + normalized.options().epsilon);
  }
  CHECK(is_even(loads(normalized.gate(), 0, features), 256));
}

TEST_CASE("split_evenly refuses what it cannot work with") {
  CometGate<double> gate({.input_dim = 3, .num_experts = 4}, RandomKey(1));
  const auto before = test::values_of(gate);
  CHECK_THROWS_WITH(split_evenly(gate, Matrix<double>::Zero(2, 8), RandomKey(1)),
                    "comet::CometGate::split_evenly: x.rows() is 2, expected input_dim = 3");
  CHECK_THROWS_WITH(split_evenly(gate, Matrix<double>::Zero(3, 3), RandomKey(1)),
                    "comet::CometGate::split_evenly: number of samples is 3, expected at least 4");
  CHECK_THROWS_WITH(split_evenly(gate, Matrix<double>::Zero(3, 8), RandomKey(1), 0),
                    "comet::CometGate::split_evenly: deviation is 0, expected a finite number > 0");
  Matrix<double> bad = Matrix<double>::Zero(3, 8);
  bad(1, 2) = std::nan("");
  CHECK_THROWS_AS(split_evenly(gate, bad, RandomKey(1)), NotFinite);
  CHECK(test::same_bits(test::values_of(gate), before));
  auto top = make_gate<double>("top_k", {.input_dim = 3, .num_experts = 4}, RandomKey(1));
  CHECK_THROWS_WITH(
      split_evenly(top, Matrix<double>::Zero(3, 8), RandomKey(1)),
      "comet::AnyGate::split_evenly: a top_k gate has no splits of its own to be set");
}

TEMPLATE_TEST_CASE("a split_scale starts splits at random planes through 0", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const Index d = 64;
  const auto check = [&](const auto& gate, const std::string& name) {
    auto copy = gate;
    const auto weight = parameter(copy, name + ".weight");
    CHECK(parameter(copy, name + ".bias").isZero(0));
    CHECK(std::sqrt(double(weight.squaredNorm()) / double(weight.size())) ==
          Approx(0.2 / 8).epsilon(0.05));
    CHECK(double(weight.cwiseAbs().maxCoeff()) > 2.5 * 0.2 / 8);  // normal: it has tails
    CHECK(std::abs(double(weight.mean())) < 0.003);
  };
  check(CometGate<S>({.input_dim = d, .num_experts = 16, .split_scale = 0.2}, RandomKey(1)),
        "split");
  check(DSelectKGate<S>({.input_dim = d, .num_experts = 16, .k = 8, .split_scale = 0.2},
                        RandomKey(1)),
        "bit");
  CHECK_THROWS_WITH(
      CometGate<S>({.input_dim = 3, .num_experts = 4, .split_scale = -1}, RandomKey(0)),
      "comet::CometGate: split_scale is -1, expected a finite number >= 0");
  CHECK_THROWS_AS(DSelectKGate<S>({.input_dim = 3, .num_experts = 4, .split_scale = std::nan("")},
                                  RandomKey(0)),
                  std::invalid_argument);
  const auto made =
      make_gate<S>("comet", {.input_dim = 3, .num_experts = 4, .split_scale = 0.5}, RandomKey(1));
  CHECK(made.template get_if<CometGate<S>>()->options().split_scale == 0.5);
}
