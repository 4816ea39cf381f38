// SPDX-License-Identifier: MIT
// What the concepts take and what they refuse. All of it is checked by the compiler.
#include <span>
#include <type_traits>

#include <comet/core/concepts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/layers/dense.hpp>
#include <comet/layers/embedding.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>

#include <support/catch.hpp>

using namespace comet;

namespace {

template <class S>
constexpr bool shipped_types_fit() {
  static_assert(TrainableGate<CometGate<S>>);
  static_assert(TrainableGate<TopKGate<S>>);
  static_assert(SplitBackwardExpert<DenseExpert<S>>);
  static_assert(!WholeBackwardExpert<DenseExpert<S>>);
  static_assert(Parametric<Dense<S>>);
  static_assert(Parametric<Embedding<S>>);
  using Layer = MoeLayer<CometGate<S>, DenseExpert<S>>;
  static_assert(Parametric<Layer>);
  static_assert(Optimizer<Adam<S>, Layer>);
  static_assert(Optimizer<Adam<S>, Dense<S>>);
  static_assert(!Gate<DenseExpert<S>>);
  static_assert(!Expert<CometGate<S>>);
  static_assert(!Expert<Dense<S>>);
  static_assert(std::copyable<Layer> && std::copyable<Adam<S>>);
  static_assert(std::is_nothrow_move_constructible_v<Routing<S>>);
  return true;
}
static_assert(shipped_types_fit<float>() && shipped_types_fit<double>());

/// The least that is a gate: it looks at ids and has no parameters.
struct LeastGate {
  using Scalar = float;
  using Input = std::span<const std::int32_t>;
  struct Workspace {};

  Index num_experts() const { return 2; }
  Index max_active() const { return 1; }
  void route(const Input& ids, Routing<float>& routing, Workspace&) const {
    routing.clear();
    for (const std::int32_t id : ids) {
      routing.push(id % 2, 1.0F);
      routing.end_sample();
    }
  }
};
static_assert(Gate<LeastGate>);
static_assert(!Parametric<LeastGate>);
static_assert(!TrainableGate<LeastGate>);

/// The least that can be trained.
struct LeastTrainableGate : LeastGate {
  void forward(const Input& ids, Routing<float>& routing, RandomKey, Workspace& workspace) const {
    route(ids, routing, workspace);
  }
  void backward(const Input&, const Routing<float>&, std::span<const float>, MatrixView<float>,
                Workspace&) {}
  float regularization(const Workspace&) const { return 0; }
  template <class F>
  void visit_parameters(F&&) {}
};
static_assert(TrainableGate<LeastTrainableGate>);

struct RouteIsNotConst : LeastGate {
  void route(const Input&, Routing<float>&, Workspace&) {}
};
static_assert(!Gate<RouteIsNotConst>);

struct NoMaxActive : LeastGate {
  Index max_active() const = delete;
};
static_assert(!Gate<NoMaxActive>);

struct CannotBeCopied : LeastGate {
  CannotBeCopied(const CannotBeCopied&) = delete;
};
static_assert(!Gate<CannotBeCopied>);

struct WorkspaceNeedsArguments : LeastGate {
  struct Workspace {
    explicit Workspace(int) {}
  };
  void route(const Input&, Routing<float>&, Workspace&) const {}
};
static_assert(!Gate<WorkspaceNeedsArguments>);

struct RoutesInDouble : LeastGate {
  void route(const Input&, Routing<double>&, Workspace&) const {}
};
static_assert(!Gate<RoutesInDouble>);

struct NoRegularization : LeastTrainableGate {
  float regularization(const Workspace&) const = delete;
};
static_assert(Gate<NoRegularization> && !TrainableGate<NoRegularization>);

struct ForwardIsNotConst : LeastTrainableGate {
  void forward(const Input&, Routing<float>&, RandomKey, Workspace&) {}
};
static_assert(!TrainableGate<ForwardIsNotConst>);

/// The least that is an expert: y = x.
struct LeastExpert {
  using Scalar = float;

  Index input_dim() const { return 3; }
  Index output_dim() const { return 3; }
  Index cache_dim() const { return 0; }
  void predict(const ConstMatrixView<float>& x, MatrixView<float> y, MatrixView<float>) const {
    y = x;
  }
  void forward(const ConstMatrixView<float>& x, MatrixView<float> y, MatrixView<float>,
               const TrainingTile&) const {
    y = x;
  }
  void backward(const ConstMatrixView<float>&, const ConstMatrixView<float>&, MatrixView<float>,
                MatrixView<float> dy, MatrixView<float> dx) {
    if (dx.size() > 0) dx = dy;
  }
  template <class F>
  void visit_parameters(F&&) {}
};
static_assert(WholeBackwardExpert<LeastExpert> && Expert<LeastExpert>);
static_assert(!SplitBackwardExpert<LeastExpert>);

struct NoBackward : LeastExpert {
  void backward() = delete;
};
static_assert(ExpertFunction<NoBackward> && !Expert<NoBackward>);

struct PredictIsNotConst : LeastExpert {
  void predict(const ConstMatrixView<float>&, MatrixView<float>, MatrixView<float>) {}
};
static_assert(!Expert<PredictIsNotConst>);

struct NoCacheDim : LeastExpert {
  Index cache_dim() const = delete;
};
static_assert(!Expert<NoCacheDim>);

struct NotAnOptimizer {};
static_assert(!Optimizer<NotAnOptimizer, Dense<float>>);

}  // namespace

TEST_CASE("the least gate and the least expert make a layer") {
  using Layer = MoeLayer<LeastGate, LeastExpert>;
  Layer layer({LeastGate()}, {LeastExpert(), LeastExpert()});
  Layer::Workspace workspace;
  const Matrix<float> x = Matrix<float>::Random(3, 4);
  Matrix<float> y(3, 4), dx = Matrix<float>::Zero(3, 4), none(0, 0);
  const std::vector<std::int32_t> list{1, 0, 3, 5};
  const std::span<const std::int32_t> ids(list);
  layer.predict(x, ids, y, workspace);
  CHECK(y == x);
  CHECK(workspace.plan().count(0) == 1);
  layer.forward(x, ids, y, RandomKey(0), workspace);
  CHECK(y == x);
  layer.backward(x, ids, x, dx, none, workspace);
  CHECK(dx == x);
}

TEST_CASE("the least trainable gate makes a layer") {
  using Layer = MoeLayer<LeastTrainableGate, LeastExpert>;
  Layer layer({LeastTrainableGate()}, {LeastExpert(), LeastExpert()});
  Layer::Workspace workspace;
  const Matrix<float> x = Matrix<float>::Random(3, 2);
  Matrix<float> y(3, 2), dx = Matrix<float>::Zero(3, 2), none(0, 0);
  const std::vector<std::int32_t> list{1, 0};
  layer.forward(x, std::span<const std::int32_t>(list), y, RandomKey(0), workspace);
  layer.backward(x, std::span<const std::int32_t>(list), x, dx, none, workspace);
  CHECK(dx == x);
  CHECK(layer.regularization(workspace) == 0.0F);
}
