// SPDX-License-Identifier: MIT
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/gradients.hpp>

#include <support/catch.hpp>

using comet::Gradients;
using comet::GradientView;
using comet::Index;
using comet::Matrix;
using comet::Parameter;

namespace {

template <class S>
struct Part {
  using Scalar = S;
  Parameter<S> weight = {3, 2};
  Parameter<S> bias = {3};

  template <class F>
  void visit(F&& f) const {
    f("weight", weight);
    f("bias", bias);
  }
};

template <class S>
struct Model {
  using Scalar = S;
  std::vector<Part<S>> layers = std::vector<Part<S>>(2);
  Part<S> head;

  template <class F>
  void visit(F&& f) const {
    f("layers", layers);
    f("head", head);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("gradients are zeros of the parameters' sizes, in visiting order", "",
                   COMET_TEST_SCALARS) {
  const Model<TestType> model;
  Gradients gradients(model);
  static_assert(std::is_same_v<decltype(gradients), Gradients<TestType>>);
  CHECK(gradients.size() == 6);
  for (Index i = 0; i < 6; ++i) {
    CHECK(gradients[i].rows() == (i % 2 == 0 ? 2 : 3));
    CHECK(gradients[i].cols() == (i % 2 == 0 ? 3 : 1));
    CHECK(gradients[i].isZero(0));
    // No two tensors share a line of a cache.
    const TestType* const here = gradients[i].data();
    if (i > 0) CHECK(here - gradients[i - 1].data() >= Index(64 / sizeof(TestType)));
    CHECK(reinterpret_cast<std::uintptr_t>(here) % EIGEN_MAX_ALIGN_BYTES == 0);
  }
  gradients[3](2, 0) = 7;
  TestType sum = 0;
  for (const TestType value : std::as_const(gradients).values()) sum += value;
  CHECK(sum == 7);
  const Gradients<TestType> copy = gradients;
  gradients.set_zero();
  CHECK(gradients[3].isZero(0));
  CHECK(Gradients<TestType>(copy)[3](2, 0) == 7);
  CHECK(Gradients<TestType>().size() == 0);
}

TEST_CASE("a part's share of the gradients is taken off the front") {
  const Model<double> model;
  Gradients gradients(model);
  GradientView<double> rest = gradients;
  const GradientView<double> of_layers = rest.next(model.layers);
  const GradientView<double> of_head = rest.next(model.head);
  CHECK(rest.size() == 0);
  CHECK(of_layers.size() == 4);
  of_layers[1](0, 0) = 1;
  of_head[0](1, 2) = 2;
  CHECK(gradients[1](0, 0) == 1);
  CHECK(gradients[4](1, 2) == 2);
  gradients.view().middle(2, 2)[1](0, 0) = 3;
  CHECK(of_layers[3](0, 0) == 3);
}

TEST_CASE("gradients of another model are named") {
  const Model<double> model;
  Gradients gradients(model);
  CHECK_NOTHROW(gradients.view().validate("f", model));
  CHECK_NOTHROW(gradients.view().middle(4, 2).validate("f", model.head));
  CHECK_THROWS_WITH(gradients.view().validate("f", model.head),
                    "comet::f: gradients.size() is 6, expected number of tensors = 2");
  CHECK_THROWS_WITH(gradients.view().middle(0, 3).validate("f", model),
                    "comet::f: the gradients are of another model, from layers.1.bias on");
  Model<double> other;
  other.head.weight = Parameter<double>({2, 3});  // as many numbers
  CHECK_THROWS_WITH(gradients.view().validate("f", other),
                    "comet::f: the gradients are of another model, from head.weight on");
}
