// SPDX-License-Identifier: MIT
#pragma once

#include <optional>

#include <comet/core/gradients.hpp>
#include <comet/core/rank_sum.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief What one thread needs to run a part again and again: scratch, gradients, helping threads.
///
/// A part is const while it runs; what changes is here. Give each thread that calls a part a pass
/// of its own, and give backward() the pass that forward() has filled.
///
/// \code
///   Pass pass(layer);                       // or Pass pass(layer, &pool);
///   layer.forward(x, y, key, pass);
///   layer.backward(x, dy, pass);            // adds to pass.gradients(layer)
///   optimizer.step(layer, pass);            // uses them and sets them to zero
/// \endcode
///
/// Gradients are made by the first backward(): a pass that only predicts holds none. A part of a
/// larger model adds to the larger model's gradients where it is told so:
/// `Pass(layer, gradients.view().middle(2, 10))`.
/// \tparam Part  has Scalar and Workspace, its scratch
template <class Part>
class Pass {
 public:
  using S = typename Part::Scalar;  ///< float or double.

  /// For parts that are known later.
  Pass() = default;
  /// \param threads  not owned, may be null: everything then runs in the calling thread
  explicit Pass(const Part& /*part*/, ThreadPool* threads = nullptr) : pool(threads) {}
  /// \param gradients  those of a larger model that are this part's; they must stay
  Pass(const Part& part, GradientView<S> gradients, ThreadPool* threads = nullptr) : pool(threads) {
    gradients.validate("Pass", part);
    borrowed_ = gradients;
  }

  /// \brief Where backward() adds to: the larger model's, or those of this pass, zeros at first.
  /// \throws std::invalid_argument if they have been made for a part of other tensors
  [[nodiscard]] GradientView<S> gradients(const Part& part) {
    if (borrowed_) return *borrowed_;
    if (own_.size() == 0) own_ = Gradients<S>(part);
    own_.view().validate("Pass::gradients", part);
    return own_.view();
  }
  /// Adds to these from now on, unchecked: for parts that run their own parts.
  void borrow(GradientView<S> gradients) { borrowed_ = gradients; }
  /// The same with the threads of an outer part, which may be others than in forward(). Ranks stay
  /// those of forward().
  template <class Other>
  void borrow(GradientView<S> gradients, const Pass<Other>& outer) {
    borrow(gradients);
    pool = outer.pool;
  }
  /// Runs as a part of another: with its threads, among its ranks.
  template <class Other>
  void run_in(const Pass<Other>& outer) {
    pool = outer.pool;
    rank_sum = outer.rank_sum;
  }

  typename Part::Workspace workspace =
      {};                      ///< The part's own, with what it tells of the last batch.
  ThreadPool* pool = nullptr;  ///< Not owned.
  RankSum rank_sum;            ///< For penalties on a batch that ranks share; not owned.

 private:
  Gradients<S> own_;  // none until they are asked for
  std::optional<GradientView<S>> borrowed_;
};

template <class Part, class... Rest>
Pass(const Part&, Rest...) -> Pass<Part>;

}  // namespace comet
