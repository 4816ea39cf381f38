// SPDX-License-Identifier: MIT
#pragma once

#include <Eigen/Core>

#include <comet/experts/dense.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/kernels/simd.hpp>
#include <comet/layers/dense.hpp>
#include <comet/layers/embedding.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/optimizers/sgd.hpp>

/// \file
/// \brief The usual classes for float and double, compiled once for all programs: include this
/// header and link the CMake target comet::instances, which defines COMET_INSTANCES. Without the
/// target the header includes the classes, and each file compiles what it uses, as ever.

// NOLINTBEGIN(bugprone-macro-parentheses): the arguments are types

/// The classes. `declare` gets what stands behind `template` in an explicit instantiation.
#define COMET_EACH_INSTANCE(declare, S)               \
  declare(class CometGate<S>);                        \
  declare(class DSelectKGate<S>);                     \
  declare(class TopKGate<S>);                         \
  declare(class SoftmaxGate<S>);                      \
  declare(class HashGate<S>);                         \
  declare(class AnyGate<S>);                          \
  declare(class DenseExpert<S>);                      \
  declare(class MlpExpert<S>);                        \
  declare(class ExpertBank<DenseExpert<S>>);          \
  declare(class ExpertBank<MlpExpert<S>>);            \
  declare(class Dense<S>);                            \
  declare(class Embedding<S>);                        \
  declare(class Adam<S>);                             \
  declare(class Sgd<S>);                              \
  declare(AnyGate<S>::AnyGate(CometGate<S>));         \
  declare(AnyGate<S>::AnyGate(DSelectKGate<S>));      \
  declare(AnyGate<S>::AnyGate(TopKGate<S>));          \
  declare(AnyGate<S>::AnyGate(SoftmaxGate<S>));       \
  declare(AnyGate<S>::AnyGate(HashGate<S>));          \
  COMET_EACH_LAYER_INSTANCE(declare, CometGate, S)    \
  COMET_EACH_LAYER_INSTANCE(declare, DSelectKGate, S) \
  COMET_EACH_LAYER_INSTANCE(declare, TopKGate, S)     \
  COMET_EACH_LAYER_INSTANCE(declare, SoftmaxGate, S)  \
  COMET_EACH_LAYER_INSTANCE(declare, AnyGate, S)

/// That of a gate.
#define COMET_EACH_LAYER_INSTANCE(declare, Gate, S) \
  declare(class MoeLayer<Gate<S>, DenseExpert<S>>);

// NOLINTEND(bugprone-macro-parentheses)

namespace comet::detail {

/// What the layout and the bits of compiled code depend on, besides the library itself.
template <int eigen_major, int eigen_minor, int alignment, int lanes, bool fused>
struct CompiledFor {};

#if defined(EIGEN_VECTORIZE_FMA)
constexpr bool multiply_add_is_fused = true;
#else
constexpr bool multiply_add_is_fused = false;
#endif

using CompiledHere = CompiledFor<EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION, EIGEN_MAX_ALIGN_BYTES,
                                 int(lanes<float>), multiply_add_is_fused>;

/// Defined in comet::instances, for the flags that it was compiled with: a program of other flags,
/// or of another Eigen, does not link.
void instances_need_the_same_march_and_eigen(CompiledHere);

}  // namespace comet::detail

#if defined(COMET_INSTANCES)
namespace comet {

#define COMET_DECLARE_INSTANCE(...) extern template __VA_ARGS__
COMET_EACH_INSTANCE(COMET_DECLARE_INSTANCE, float)
COMET_EACH_INSTANCE(COMET_DECLARE_INSTANCE, double)
#undef COMET_DECLARE_INSTANCE

namespace detail {
/// Of each file, since files may differ in their flags.
[[maybe_unused, gnu::used]] static void (*const instances_are_ours)(CompiledHere) =
    instances_need_the_same_march_and_eigen;
}  // namespace detail

}  // namespace comet
#endif
