// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/make_experts.hpp>
#include <comet/distributed/blockwise_gate.hpp>
#include <comet/distributed/distributed_moe_layer.hpp>
#include <comet/distributed/reduce_gradients.hpp>
#include <comet/distributed/thread_communicator.hpp>
#include <comet/distributed/tree_sum.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/all.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/testing/gate_laws.hpp>

#include <support/catch.hpp>
#include <support/golden.hpp>
#include <support/model.hpp>

using namespace comet;

namespace {

using S = float;
using Gate = TopKGate<S>;
using Expert = DenseExpert<S>;

constexpr Index d = 6, m = 3, n = 10, num_rows = 64, num_steps = 10;
const RandomKey key(5);

Gate gate(double load_balance = 0) {
  return {{.input_dim = d, .num_experts = n, .k = 3, .noise = true, .load_balance = load_balance},
          key.fold(0)};
}
std::vector<Expert> experts(IndexRange numbers) {
  return make_experts<Expert>(numbers, {.input_dim = d, .output_dim = m, .dropout = 0.1},
                              key.fold(1));
}

int calls_until_failure = -1;  // of backward(); below 0 none fails

/// A Gate whose backward() throws when it has nearly finished, if it is told to.
struct FailingGate {
  using Scalar = S;
  struct Workspace {
    Pass<Gate> inner;
  };
  Gate gate;

  [[nodiscard]] Index num_experts() const { return gate.num_experts(); }
  [[nodiscard]] Index max_active() const { return gate.max_active(); }
  void route(const Samples<S>& samples, Routing<S>& routing, Pass<FailingGate>& pass) const {
    gate.route(samples, routing, pass.workspace.inner);
  }
  void forward(const Samples<S>& samples, Routing<S>& routing, RandomKey k,
               Pass<FailingGate>& pass) const {
    gate.forward(samples, routing, k, pass.workspace.inner);
  }
  void backward(const Samples<S>& samples, const Routing<S>& routing, std::span<const S> dweights,
                MatrixView<S> dx, Pass<FailingGate>& pass) const {
    pass.workspace.inner.borrow(pass.gradients(*this), pass);
    gate.backward(samples, routing, dweights, dx, pass.workspace.inner);
    if (calls_until_failure-- == 0) throw std::runtime_error("a failing gate");
  }
  [[nodiscard]] S regularization(const Pass<FailingGate>& pass) const {
    return gate.regularization(pass.workspace.inner);
  }
  template <class F>
  void visit(F&& f) const {
    gate.visit(f);
  }
};

/// Ten steps over these rows. \param finish  what ranks do between backward() and the step
template <class Layer, class Finish>
void train(Layer& layer, IndexRange rows, Finish finish) {
  Pass pass(layer);
  Adam adam(layer);
  for (Index step = 0; step < num_steps; ++step) {
    const Matrix<S> x = test::random_matrix<S>(d, num_rows, std::uint64_t(step));
    const Matrix<S> dy = test::random_matrix<S>(m, num_rows, std::uint64_t(50 + step));
    const Matrix<S> my_x = x.middleCols(rows.first, rows.size()),
                    my_dy = dy.middleCols(rows.first, rows.size());
    Matrix<S> y(m, rows.size());
    layer.forward(my_x, y, key.fold(step), pass);
    layer.backward(my_x, my_dy, pass);
    finish(pass);
    adam.step(layer, pass);
  }
}

}  // namespace

TEST_CASE("a training in eight blocks has the same bits on 1, 2, 4 and 8 ranks") {
  const double load_balance = GENERATE(0.0, 0.5);
  MoeLayer whole(BlockwiseGate(gate(load_balance), 8), experts({0, n}));
  train(whole, {0, num_rows}, [](auto&) {});
  const std::vector<S> expected = test::values_of(whole);
  const std::size_t of_expert = (d + 1) * m;
  for (const Index ranks : {1, 2, 4, 8}) {
    CAPTURE(ranks, load_balance);
    std::vector<std::vector<S>> ends(static_cast<std::size_t>(ranks));
    run_ranks(ranks, [&](ThreadCommunicator& world) {
      DistributedMoeLayer layer(world, BlockwiseGate(gate(load_balance), 8 / world.size()),
                                experts(share_of(n, world)));
      train(layer, share_of(num_rows, world), [&](auto& pass) {
        reduce_gradients(world, layer, pass.gradients(layer), SumOrder::tree);
      });
      ends[std::size_t(world.rank())] = test::values_of(layer);
    });
    std::vector<S> all;
    for (std::size_t r = 0; r < ends.size(); ++r) {
      const auto own = of_expert * std::size_t(share_of(n, Index(r), ranks).size());
      all.insert(all.end(), ends[r].begin(),
                 r + 1 == ends.size() ? ends[r].end() : ends[r].begin() + std::ptrdiff_t(own));
      CHECK(std::vector<S>(ends[r].begin() + std::ptrdiff_t(own), ends[r].end()) ==
            std::vector<S>(ends[0].end() - std::ptrdiff_t(ends[r].size() - own), ends[0].end()));
    }
    CHECK(test::same_bits(all, expected));
  }
}

TEST_CASE("gates with penalties, too, have the same bits in blocks on 1, 2, 4 and 8 ranks") {
  struct Kind {
    std::string gate;
    GateOptions options;
  };
  using D = double;  // in float, what comes of sums in double hides their last bits
  const auto wide_experts =
      make_experts<DenseExpert<D>>(n, {.input_dim = d, .output_dim = m}, key.fold(1));
  for (const auto& kind :
       {Kind{"comet", {.entropy = 0.3, .spread = 0.2}},
        Kind{"dselect_k", {.entropy = 0.3, .spread = 0.2, .reachability = 0.1}},
        Kind{"static_dselect_k", {.entropy = 0.3, .spread = 0.2}},
        Kind{"softmax", {.entropy = 0.3, .spread = 0.2}},
        Kind{"top_k",
             {.k = 3,
             .entropy = 0.2,
             .spread = 0.3,
             .noise = true,
             .load_balance = 0.4,
             .importance = 0.5,
             .router_z = 0.6}},
        Kind{"sampled", {.spread = 0.2, .trimmed_lasso = 0.4}}, Kind{"remoe", {.sparsity = 0.3}}}) {
    GateOptions options = kind.options;
    options.input_dim = d;
    options.num_experts = n;
    const auto gate = make_gate<D>(kind.gate, options, key.fold(0));
    // With few live samples: some blocks of eight have none.
    const Matrix<D> x = test::random_matrix<D>(d, num_rows, 1);
    std::vector<std::uint8_t> mask(num_rows);
    for (std::size_t b = 0; b < mask.size(); ++b) mask[b] = std::uint8_t(b % 3 != 1 && b / 8 != 5);
    std::vector<D> expected;
    D penalty = 0;
    for (const Index ranks : {1, 2, 4, 8}) {
      CAPTURE(kind.gate, ranks);
      std::vector<std::vector<D>> ends(static_cast<std::size_t>(ranks));
      std::vector<D> penalties(ends.size());
      run_ranks(ranks, [&](ThreadCommunicator& world) {
        const IndexRange rows = share_of(num_rows, world);
        const MoeLayer layer(BlockwiseGate(gate, 8 / world.size()), wide_experts);
        Pass pass(layer);
        pass.rank_sum = make_rank_sum(world);
        const Matrix<D> my_x = x.middleCols(rows.first, rows.size()),
                        none = Matrix<D>::Zero(m, rows.size());
        Samples<D> samples(
            my_x, {}, std::span(mask).subspan(std::size_t(rows.first), std::size_t(rows.size())));
        samples.first = rows.first;
        Matrix<D> y(m, rows.size());
        layer.forward(samples, y, key, pass);
        layer.backward(samples, none, pass);
        reduce_gradients(world, layer, pass.gradients(layer), SumOrder::tree);
        ends[std::size_t(world.rank())] = test::gradients_of(layer, pass);
        penalties[std::size_t(world.rank())] = layer.regularization(pass);
      });
      if (ranks == 1) {
        expected = ends[0];
        penalty = penalties[0];
        CHECK(penalty != 0);
        // To rounding it is what the gate says of the batch as one.
        const MoeLayer whole(gate, wide_experts);
        Pass pass(whole);
        Matrix<D> y(m, num_rows);
        whole.forward(Samples<D>(x, {}, mask), y, key, pass);
        whole.backward(Samples<D>(x, {}, mask), Matrix<D>::Zero(m, num_rows), pass);
        CHECK(penalty == Approx(whole.regularization(pass)).epsilon(1e-12));
        const std::vector<D> as_one = test::gradients_of(whole, pass);
        CHECK(test::relative_error(
                  Eigen::Map<const Vector<D>>(expected.data(), Index(expected.size())),
                  Eigen::Map<const Vector<D>>(as_one.data(), Index(as_one.size()))) <= 1e-12);
      }
      for (std::size_t r = 0; r < ends.size(); ++r) {
        CHECK(test::same_bits(ends[r], expected));
        CHECK(penalties[r] == penalty);
      }
    }
  }
}

TEST_CASE("data parallel alone: blocks of a MoeLayer in a tree have the same bits on any ranks") {
  std::vector<std::vector<S>> ends;
  for (const Index ranks : {1, 2, 4, 8}) {
    std::vector<S> end;
    run_ranks(ranks, [&](ThreadCommunicator& world) {
      const MoeLayer layer(gate(), experts({0, n}));
      const Matrix<S> x = test::random_matrix<S>(d, num_rows, 1);
      const Matrix<S> dy = test::random_matrix<S>(m, num_rows, 2);
      Pass pass(layer);
      TreeSum<S> sum;
      const IndexRange blocks = share_of(8, world);
      for (Index block = blocks.first; block < blocks.last; ++block) {
        const IndexRange rows = share_of(num_rows, block, 8);
        const Matrix<S> my_x = x.middleCols(rows.first, rows.size()),
                        my_dy = dy.middleCols(rows.first, rows.size());
        Matrix<S> y(m, rows.size());
        layer.forward(my_x, y, key.fold(block), pass);
        layer.backward(my_x, my_dy, pass);
        sum.add(pass.gradients(layer));
      }
      sum.add_to(pass.gradients(layer));
      reduce_gradients(world, layer, pass.gradients(layer), SumOrder::tree);
      if (world.rank() == 0) end = test::gradients_of(layer, pass);
    });
    ends.push_back(end);
    CHECK(test::same_bits(end, ends.front()));
  }
}

TEST_CASE("a gate in blocks keeps the laws of gates, with the rows of the gate") {
  const BlockwiseGate blockwise(gate(), 4);
  for (const auto& broken : testing::check_gate_laws(
           blockwise, {.num_samples = 8, .input_dim = d, .any_size = false, .differences = false}))
    FAIL_CHECK(broken);
  const CometGate<double> with_penalties(
      {.input_dim = d, .num_experts = n, .entropy = 0.2, .spread = 0.3}, key);
  for (const auto& broken : testing::check_gate_laws(
           BlockwiseGate(with_penalties, 4), {.num_samples = 8, .input_dim = d, .any_size = false}))
    FAIL_CHECK(broken);
  const Matrix<S> x = test::random_matrix<S>(d, 8, 1);
  Pass inner(blockwise.gate());
  Pass pass(blockwise);
  Routing<S> expected, actual;
  blockwise.gate().forward(x, expected, key, inner);
  blockwise.forward(x, actual, key, pass);
  CHECK(test::same_bits(actual.dense(n), expected.dense(n)));
}

TEST_CASE("a gate that throws in a block leaves nothing of it in gradients") {
  const FailingGate failing{gate()};
  const BlockwiseGate blockwise(failing, 4);
  const Matrix<S> x = test::random_matrix<S>(d, 8, 1);
  Routing<S> routing;
  const auto forward = [&](auto& pass) { blockwise.forward(x, routing, key, pass); };
  const auto backward = [&](auto& pass) {
    blockwise.backward(x, routing, std::vector<S>(std::size_t(routing.num_entries()), S(0.5)),
                       no_gradient, pass);
  };
  Pass expected(blockwise), pass(blockwise);
  forward(expected);
  backward(expected);
  for (const int fails_at : {0, 1, 3}) {
    forward(pass);
    calls_until_failure = fails_at;
    CHECK_THROWS_AS(backward(pass), std::runtime_error);
    for (const S g : test::gradients_of(blockwise, pass)) CHECK(g == 0);
    CHECK_THROWS_WITH(backward(pass), ContainsSubstring("the pass holds no forward(); call it"));
  }
  forward(pass);
  backward(pass);
  CHECK(test::same_bits(test::gradients_of(blockwise, pass),
                        test::gradients_of(blockwise, expected)));
}

TEST_CASE("what cannot be done in blocks is refused") {
  CHECK_THROWS_WITH(BlockwiseGate(gate(), 3),
                    "comet::BlockwiseGate: num_blocks is 3, expected a power of two");
  const BlockwiseGate blockwise(gate(), 4);
  Pass pass(blockwise);
  Routing<S> routing;
  CHECK_THROWS_WITH(
      blockwise.forward(test::random_matrix<S>(d, 7, 1), routing, key, pass),
      "comet::BlockwiseGate::forward: x.cols() is 7, expected a multiple of num_blocks = 4");
  TreeSum<S> sum;
  Gradients<S> gradients(gate());
  for (int block = 0; block < 3; ++block) sum.add(gradients.view());
  CHECK_THROWS_WITH(sum.add_to(gradients.view()),
                    "comet::TreeSum::add_to: the number of blocks is 3, expected a power of two");
}

TEST_CASE("a pass that other blocks have used is refused, or made to fit") {
  const BlockwiseGate narrow(gate(), 4);
  const BlockwiseGate wide(Gate({.input_dim = d, .num_experts = 50 * n, .k = 3}, key), 4);
  const Matrix<S> x = test::random_matrix<S>(d, 8, 1);
  Routing<S> routing;
  Pass pass(narrow);
  const auto run = [&](const auto& blocks, auto& in) {
    blocks.forward(x, routing, key, in);
    const std::vector<S> dweights(std::size_t(routing.num_entries()), S(0.5));
    blocks.backward(x, routing, dweights, no_gradient, in);
  };
  run(narrow, pass);
  CHECK_THROWS_WITH(run(wide, pass),
                    StartsWith("comet::Pass::gradients: the gradients are of another model"));
  const BlockwiseGate pairs(gate(), 2);
  narrow.forward(x, routing, key, pass);
  CHECK_THROWS_WITH(pairs.backward(x, routing, std::vector<S>(std::size_t(routing.num_entries())),
                                   no_gradient, pass),
                    "comet::BlockwiseGate::backward: the pass holds a forward() of another gate");
  // Gradients of a larger model, which are those of the other gate.
  Gradients<S> expected(wide), actual(wide);
  Pass own(wide, expected.view());
  run(wide, own);
  pass.borrow(actual.view());
  run(wide, pass);
  CHECK(std::ranges::equal(actual.values(), expected.values()));
}
