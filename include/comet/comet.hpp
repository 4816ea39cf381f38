// SPDX-License-Identifier: MIT
#pragma once

/// \file
/// \brief Everything but file input/output, which needs a JSON library, and the checks in testing/.
/// Optional: each header stands by itself.

#include <comet/concepts.hpp>
#include <comet/dispatch_plan.hpp>
#include <comet/experts/dense.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/explain.hpp>
#include <comet/functions.hpp>
#include <comet/gates/any.hpp>
#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/inference/emit_cpp.hpp>
#include <comet/inference/freeze.hpp>
#include <comet/inference/frozen_comet_gate.hpp>
#include <comet/inference/frozen_dselect_k_gate.hpp>
#include <comet/inference/frozen_top_k_gate.hpp>
#include <comet/layers/dense.hpp>
#include <comet/layers/dropout.hpp>
#include <comet/layers/embedding.hpp>
#include <comet/local_search/annealing.hpp>
#include <comet/local_search/assignment.hpp>
#include <comet/local_search/fold.hpp>
#include <comet/local_search/mixture_objective.hpp>
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
#include <comet/make_parts.hpp>
#include <comet/metrics/calibration.hpp>
#include <comet/metrics/roc_auc.hpp>
#include <comet/moe_layer.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/optimizers/sgd.hpp>
#include <comet/parameters.hpp>
#include <comet/permutation.hpp>
#include <comet/random.hpp>
#include <comet/routing.hpp>
#include <comet/schedule.hpp>
#include <comet/thread_pool.hpp>
#include <comet/types.hpp>
#include <comet/version.hpp>
