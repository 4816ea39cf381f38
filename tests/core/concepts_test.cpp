// SPDX-License-Identifier: MIT
// What the concepts take and what they refuse. All of it is checked by the compiler.
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include <comet/core/concepts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/capabilities.hpp>
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
  static_assert(ModelOptimizer<Adam<S>, Layer>);
  static_assert(ModelOptimizer<Adam<S>, Dense<S>>);
  static_assert(!RoutingGate<DenseExpert<S>>);
  static_assert(!TrainableExpert<CometGate<S>>);
  static_assert(TrainableExpert<Dense<S>> && !TrainableExpert<Embedding<S>>);
  static_assert(std::copyable<Layer> && std::copyable<Adam<S>>);
  static_assert(std::is_nothrow_move_constructible_v<Routing<S>>);
  return true;
}
static_assert(shipped_types_fit<float>() && shipped_types_fit<double>());

/// The least that is a gate: it looks at ids and has no parameters.
struct LeastGate {
  using Scalar = float;
  struct Workspace {};

  Index num_experts() const { return 2; }
  Index max_active() const { return 1; }
  void route(const Samples<float>& samples, Routing<float>& routing, Pass<LeastGate>&) const {
    fill(samples, routing);
  }

 protected:
  static void fill(const Samples<float>& samples, Routing<float>& routing) {
    routing.clear();
    for (const std::int32_t id : samples.ids) {
      routing.push(id % 2, 1.0F);
      routing.end_sample();
    }
  }
};
static_assert(RoutingGate<LeastGate>);
static_assert(!Parametric<LeastGate>);
static_assert(!TrainableGate<LeastGate>);
static_assert(capabilities_of<LeastGate> == GateCapabilities{});

/// The least, to be varied: G is the gate itself.
template <class G>
struct LeastOf : LeastGate {
  void route(const Samples<float>& samples, Routing<float>& routing, Pass<G>&) const {
    fill(samples, routing);
  }
};

/// The least that can be trained.
template <class G>
struct LeastTrainable : LeastOf<G> {
  void forward(const Samples<float>& samples, Routing<float>& routing, RandomKey, Pass<G>&) const {
    this->fill(samples, routing);
  }
  void backward(const Samples<float>&, const Routing<float>&, std::span<const float>,
                MatrixView<float>, Pass<G>&) const {}
  float regularization(const Pass<G>&) const { return 0; }
};
struct LeastTrainableGate : LeastTrainable<LeastTrainableGate> {};
static_assert(TrainableGate<LeastTrainableGate> && !Parametric<LeastTrainableGate>);

struct RouteIsNotConst : LeastGate {
  void route(const Samples<float>&, Routing<float>&, Pass<RouteIsNotConst>&) {}
};
static_assert(!RoutingGate<RouteIsNotConst>);

struct NoMaxActive : LeastOf<NoMaxActive> {
  Index max_active() const = delete;
};
static_assert(!RoutingGate<NoMaxActive>);

struct CannotBeCopied : LeastOf<CannotBeCopied> {
  CannotBeCopied(const CannotBeCopied&) = delete;
};
static_assert(!RoutingGate<CannotBeCopied>);

struct WorkspaceNeedsArguments : LeastGate {
  struct Workspace {
    explicit Workspace(int) {}
  };
  void route(const Samples<float>&, Routing<float>&, Pass<WorkspaceNeedsArguments>&) const {}
};
static_assert(!RoutingGate<WorkspaceNeedsArguments>);

struct RoutesInDouble : LeastGate {
  void route(const Samples<float>&, Routing<double>&, Pass<RoutesInDouble>&) const {}
};
static_assert(!RoutingGate<RoutesInDouble>);

struct AnotherPass : LeastGate {};  // its route() wants that of a LeastGate
static_assert(!RoutingGate<AnotherPass>);

struct NoRegularization : LeastTrainable<NoRegularization> {
  float regularization(const Pass<NoRegularization>&) const = delete;
};
static_assert(RoutingGate<NoRegularization> && !TrainableGate<NoRegularization>);

struct ForwardIsNotConst : LeastTrainable<ForwardIsNotConst> {
  void forward(const Samples<float>&, Routing<float>&, RandomKey, Pass<ForwardIsNotConst>&) {}
};
static_assert(!TrainableGate<ForwardIsNotConst>);

struct BackwardIsNotConst : LeastTrainable<BackwardIsNotConst> {
  void backward(const Samples<float>&, const Routing<float>&, std::span<const float>,
                MatrixView<float>, Pass<BackwardIsNotConst>&) {}
};
static_assert(!TrainableGate<BackwardIsNotConst>);

/// One capability at a time.
struct Annealed : LeastOf<Annealed> {
  void anneal(const GateAnnealing&) {}
};
static_assert(AnnealableGate<Annealed>);
static_assert(capabilities_of<Annealed> == GateCapabilities{.anneals = true});
struct Frozen : LeastOf<Frozen> {
  LeastGate freeze(std::span<const Permutation>) const { return {}; }
};
static_assert(FreezableGate<Frozen>);
static_assert(capabilities_of<Frozen> == GateCapabilities{.freezes = true});
struct Explained : LeastOf<Explained> {
  int explain(const ConstMatrixView<float>&, std::span<const Permutation>,
              const ExplainNames&) const {
    return 0;
  }
};
static_assert(ExplainableGate<Explained>);
static_assert(capabilities_of<Explained> == GateCapabilities{.explains = true});
struct Loaded : LeastOf<Loaded> {
  void end_of_step(std::span<const Index>) {}
};
static_assert(LoadedGate<Loaded>);
static_assert(capabilities_of<Loaded> == GateCapabilities{.loads = true});
struct Selecting : LeastOf<Selecting> {
  Index num_selectors() const { return 1; }
  void route_slots(const Samples<float>&, Routing<float>&, Pass<Selecting>&) const {}
  void forward_slots(const Samples<float>&, Routing<float>&, RandomKey, Pass<Selecting>&) const {}
};
static_assert(SelectorGate<Selecting>);
static_assert(capabilities_of<Selecting> == GateCapabilities{.selectors = true});

/// The least that is an expert: y = x.
struct LeastExpert {
  using Scalar = float;

  Index input_dim() const { return 3; }
  Index output_dim() const { return 3; }
  Index cache_dim() const { return 0; }
  double cost() const { return 3; }
  void predict(const ConstMatrixView<float>& x, MatrixView<float> y, MatrixView<float>) const {
    y = x;
  }
  void forward(const ConstMatrixView<float>& x, MatrixView<float> y, MatrixView<float>,
               const TrainingTile&) const {
    y = x;
  }
  void backward(const ConstMatrixView<float>&, const ConstMatrixView<float>&, MatrixView<float>,
                MatrixView<float> dy, MatrixView<float> dx, GradientView<float>) const {
    if (dx.size() > 0) dx += dy;
  }
  template <class F>
  void visit(F&&) const {}
};
static_assert(WholeBackwardExpert<LeastExpert> && TrainableExpert<LeastExpert>);
static_assert(!SplitBackwardExpert<LeastExpert>);

struct NoBackward : LeastExpert {
  void backward() = delete;
};
static_assert(ExpertFunction<NoBackward> && !TrainableExpert<NoBackward>);

struct PredictIsNotConst : LeastExpert {
  void predict(const ConstMatrixView<float>&, MatrixView<float>, MatrixView<float>) {}
};
static_assert(!TrainableExpert<PredictIsNotConst>);

struct NoCacheDim : LeastExpert {
  Index cache_dim() const = delete;
};
static_assert(!TrainableExpert<NoCacheDim>);

struct NoCost : LeastExpert {
  double cost() const = delete;
};
static_assert(!TrainableExpert<NoCost>);

struct NotAnOptimizer {};
static_assert(!ModelOptimizer<NotAnOptimizer, Dense<float>>);

}  // namespace

TEST_CASE("the least gate and the least expert make a layer") {
  const MoeLayer layer(LeastGate(), std::vector(2, LeastExpert()));
  Pass pass(layer);
  const Matrix<float> x = Matrix<float>::Random(3, 4);
  Matrix<float> y(3, 4), dx = Matrix<float>::Zero(3, 4);
  const std::vector<std::int32_t> ids{1, 0, 3, 5};
  layer.predict(Samples{x, ids}, y, pass);
  CHECK(y == x);
  CHECK(pass.workspace.plan().count(0) == 1);
  layer.forward(Samples{x, ids}, y, RandomKey(0), pass);
  CHECK(y == x);
  layer.backward(Samples{x, ids}, x, dx, pass);
  CHECK(dx == x);
}

TEST_CASE("the least trainable gate makes a layer") {
  const MoeLayer layer(LeastTrainableGate(), std::vector(2, LeastExpert()));
  Pass pass(layer);
  const Matrix<float> x = Matrix<float>::Random(3, 2);
  Matrix<float> y(3, 2), dx = Matrix<float>::Zero(3, 2);
  const std::vector<std::int32_t> ids{1, 0};
  layer.forward(Samples{x, ids}, y, RandomKey(0), pass);
  layer.backward(Samples{x, ids}, x, dx, pass);
  CHECK(dx == x);
  CHECK(layer.regularization(pass) == 0.0F);
}
