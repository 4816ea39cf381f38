// SPDX-License-Identifier: MIT
#include <type_traits>
#include <vector>

#include <comet/core/pass.hpp>

#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

using comet::Gradients;
using comet::GradientView;
using comet::Index;
using comet::Matrix;
using comet::Parameter;
using comet::Pass;

namespace {

/// y = w x of one number, counting its calls in the pass.
struct Scale {
  using Scalar = double;
  struct Workspace {
    Index calls = 0;
  };
  Parameter<double> weight = {1};

  double forward(double x, Pass<Scale>& pass) const {
    ++pass.workspace.calls;
    return weight(0, 0) * x;
  }
  void backward(double x, double dy, Pass<Scale>& pass) const {
    pass.gradients(*this)[0](0, 0) += x * dy;
  }
  template <class F>
  void visit(F&& f) const {
    f("weight", weight);
  }
};

/// Two of them behind each other.
struct Twice {
  using Scalar = double;
  struct Workspace {
    Pass<Scale> first, second;
  };
  Scale first, second;

  void backward(double x, double dy, Pass<Twice>& pass) const {
    GradientView<double> rest = pass.gradients(*this);
    auto& ws = pass.workspace;
    ws.first.borrow(rest.next(first));
    ws.second.borrow(rest.next(second));
    second.backward(first.forward(x, ws.first), dy, ws.second);
    first.backward(x, second.weight(0, 0) * dy, ws.first);
  }
  template <class F>
  void visit(F&& f) const {
    f("first", first);
    f("second", second);
  }
};

Twice make_twice() {
  Twice twice;
  twice.first.weight.setConstant(2);
  twice.second.weight.setConstant(3);
  return twice;
}

}  // namespace

TEST_CASE("a pass has its own gradients from the first time they are asked for") {
  const Scale part;
  Pass pass(part);
  static_assert(std::is_same_v<decltype(pass), Pass<Scale>>);
  CHECK(pass.pool == nullptr);
  CHECK(pass.gradients(part)[0](0, 0) == 0);
  part.backward(3, 2, pass);
  part.backward(1, 1, pass);
  CHECK(pass.gradients(part)[0](0, 0) == 7);
  Pass<Scale> copy = pass;  // stands by itself
  part.backward(1, 1, copy);
  CHECK(pass.gradients(part)[0](0, 0) == 7);
  CHECK(copy.gradients(part)[0](0, 0) == 8);
  if (comet::test::can_count_allocations) {
    Pass predicting(part);
    CHECK(comet::test::count_allocations([&] { (void)part.forward(1, predicting); }) == 0);
    CHECK(predicting.workspace.calls == 1);
  }
}

TEST_CASE("a pass adds to the gradients of a larger model where it is told so") {
  const Twice twice = make_twice();
  Gradients gradients(twice);
  Pass pass(twice);
  twice.backward(5, 1, pass);
  CHECK(pass.gradients(twice)[0](0, 0) == 15);
  CHECK(pass.gradients(twice)[1](0, 0) == 10);
  Pass other(twice, gradients.view());
  twice.backward(5, 1, other);
  twice.backward(5, 1, other);
  CHECK(gradients[0](0, 0) == 30);
  CHECK(gradients[1](0, 0) == 20);
  // A part of it, by its place.
  Pass second(twice.second, gradients.view().middle(1, 1));
  twice.second.backward(1, 1, second);
  CHECK(gradients[1](0, 0) == 21);
  pass.borrow(gradients);
  twice.backward(5, 1, pass);
  CHECK(gradients[0](0, 0) == 45);
  CHECK_THROWS_WITH(Pass(twice, gradients.view().middle(0, 1)),
                    "comet::Pass: the gradients are of another model, from second.weight on");
  CHECK_THROWS_WITH(Pass(twice.first, gradients.view()),
                    "comet::Pass: gradients.size() is 2, expected number of tensors = 1");
}
