// SPDX-License-Identifier: MIT
#pragma once

/// \file
/// \brief Everything but file input/output, which needs a JSON library, and the checks in testing/.
/// Optional: each header stands by itself.

#include <comet/core/concepts.hpp>
#include <comet/core/errors.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/make_experts.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/permutation.hpp>
#include <comet/core/random.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/schedule.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>
#include <comet/dispatch/columns.hpp>
#include <comet/dispatch/combine.hpp>
#include <comet/dispatch/plan.hpp>
#include <comet/experts/bank.hpp>
#include <comet/experts/constant.hpp>
#include <comet/experts/dense.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/all.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/balanced_top_k.hpp>
#include <comet/gates/capabilities.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/expert_choice.hpp>
#include <comet/gates/explanation.hpp>
#include <comet/gates/frozen.hpp>
#include <comet/gates/frozen_logits.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/hyperplanes.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/gates/masked.hpp>
#include <comet/gates/normalized_input.hpp>
#include <comet/gates/remoe.hpp>
#include <comet/gates/sampled.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/static_dselect_k.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/inference/emit_cpp.hpp>
#include <comet/inference/explain.hpp>
#include <comet/inference/freeze.hpp>
#include <comet/kernels/activation.hpp>
#include <comet/kernels/functions.hpp>
#include <comet/layers/dense.hpp>
#include <comet/layers/dropout.hpp>
#include <comet/layers/embedding.hpp>
#include <comet/layers/layer_norm.hpp>
#include <comet/local_search/annealing.hpp>
#include <comet/local_search/assignment.hpp>
#include <comet/local_search/concepts.hpp>
#include <comet/local_search/in_slot_order.hpp>
#include <comet/local_search/mixture_objective.hpp>
#include <comet/local_search/no_search.hpp>
#include <comet/local_search/permutation_search.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/local_search/sinkhorn.hpp>
#include <comet/local_search/swap_search.hpp>
#include <comet/local_search/train_with_local_search.hpp>
#include <comet/losses/binary_cross_entropy.hpp>
#include <comet/losses/load_balance.hpp>
#include <comet/losses/mean_squared_error.hpp>
#include <comet/losses/router_z.hpp>
#include <comet/losses/softmax_cross_entropy.hpp>
#include <comet/metrics/calibration.hpp>
#include <comet/metrics/roc_auc.hpp>
#include <comet/metrics/routing.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/optimizers/clip_by_global_norm.hpp>
#include <comet/optimizers/parameter_group.hpp>
#include <comet/optimizers/sgd.hpp>
#include <comet/training/batches.hpp>
#include <comet/training/early_stopping.hpp>
#include <comet/training/sparsity_controller.hpp>
#include <comet/version.hpp>

#if defined(COMET_INSTANCES)  // the target comet::instances is linked
#include <comet/instances.hpp>
#endif
