// SPDX-License-Identifier: MIT
// What every gate's backward() refuses, of which it would read or write beyond its scratch.
#include <support/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/gate_forward.hpp>
#include <comet/gates/all.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/gates/masked.hpp>
#include <comet/gates/normalized_input.hpp>
#include <comet/local_search/permuted_gate.hpp>

#include <support/model.hpp>

using namespace comet;

namespace {

/// A routing of rows of experts 0.. of so many entries, the last of them `last` more.
Routing<double> rows(const std::vector<Index>& sizes, Index last = 0) {
  Routing<double> routing;
  routing.clear();
  for (const Index size : sizes) {
    for (Index e = 0; e < size; ++e) routing.push(ExpertId(e + (e + 1 == size ? last : 0)), 0.2);
    routing.end_sample();
  }
  return routing;
}

/// What a gate of three features answers to the rows of another routing, samples of other sizes
/// and the pass of another gate.
template <class G>
void check_gate(const G& gate, G other) {
  const Matrix<double> x = test::random_matrix<double>(3, 10, 1);
  const std::vector<std::int32_t> ids(10, 1);
  Pass pass(gate);
  Routing<double> own;
  const auto forward = [&] { gate.forward(Samples{x, ids}, own, RandomKey(2), pass); };
  const auto backward = [&](const G& by, const Matrix<double>& samples,
                            const Routing<double>& routing) {
    const std::vector<double> dweights(std::size_t(routing.num_entries()), 1.0);
    Matrix<double> dx = Matrix<double>::Zero(samples.rows(), samples.cols());
    by.backward(Samples{samples, ids}, routing, dweights, dx, pass);
  };
  forward();
  std::vector<Index> sizes;
  for (Index b = 0; b < 10; ++b) sizes.push_back(Index(own.experts(b).size()));
  std::vector<Index> longer(10, 6), moved = sizes;
  moved[0] += moved[9];
  moved[9] = 0;
  for (const auto& routing : {rows(longer), rows(std::vector<Index>(10, 0))})
    CHECK_THROWS_WITH(backward(gate, x, routing),
                      ContainsSubstring("expected entries of the last forward() = " +
                                        std::to_string(own.num_entries())));
  for (const auto& routing : {rows(moved), rows(sizes, 1000)})
    CHECK_THROWS_WITH(backward(gate, x, routing),
                      ContainsSubstring("has other experts in its rows"));
  CHECK_THROWS_WITH(
      backward(gate, Matrix<double>::Zero(2, 10), own),
      ContainsSubstring("x.rows() is 2, expected features of the last forward() = 3"));
  CHECK_THROWS_AS(backward(other, x, own), std::invalid_argument);
  CHECK_NOTHROW(backward(gate, x, own));
  forward();
  other = gate;  // equal, and yet not what ran
  CHECK_THROWS_WITH(backward(other, x, own), ContainsSubstring("a forward() of another gate"));
}

}  // namespace

TEST_CASE("a gate's backward() is of the rows and the gate of its forward()") {
  for (const std::string_view name : GateFamily<double>::names) {
    CAPTURE(name);
    const auto gate = [&](Index n) {
      return make_gate<double>(name, {.input_dim = 3, .num_experts = n, .k = 2}, RandomKey(1));
    };
    check_gate(gate(5), gate(9));
    const std::vector<ExpertId> some = {0, 1, 2, 3}, others = {2};
    check_gate(MaskedExperts(gate(5), some), MaskedExperts(gate(5), others));
    check_gate(PermutedGate{gate(5)}, PermutedGate{gate(9)});
    check_gate(NormalizedInput(gate(5)), NormalizedInput(gate(9)));
  }
}

TEST_CASE("a forward() is known by its gate and its rows") {
  const detail::Identity gate, other;
  const Matrix<double> x(3, 2);
  const Samples samples{x};
  detail::GateForward forward;
  CHECK(forward.num_samples() < 0);
  forward.set(gate, samples, rows({1, 2}));
  CHECK(forward.num_samples() == 2);
  CHECK_NOTHROW(forward.check("A", gate, 3, rows({1, 2})));
  CHECK_THROWS_WITH(forward.check("A", other, 3, rows({1, 2})),
                    "comet::A: the pass holds a forward() of another gate");
  CHECK_THROWS_WITH(forward.check("A", gate, 4, rows({1, 2})),
                    "comet::A: x.rows() is 4, expected features of the last forward() = 3");
  CHECK_THROWS_WITH(
      forward.check("A", gate, 3, rows({1, 1})),
      "comet::A: routing.num_entries() is 2, expected entries of the last forward() = 3");
  for (const auto& routing : {rows({2, 1}), rows({1, 2}, 1), rows({0, 3}), rows({0, 1, 2})})
    CHECK_THROWS_WITH(forward.check("A", gate, 3, routing),
                      "comet::A: the routing has other experts in its rows than that of the last "
                      "forward()");
  forward.clear();
  CHECK(forward.num_samples() < 0);
}
