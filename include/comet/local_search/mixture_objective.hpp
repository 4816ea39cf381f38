// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/pass.hpp>
#include <comet/core/rank_sum.hpp>
#include <comet/core/routing.hpp>
#include <comet/core/samples.hpp>
#include <comet/core/types.hpp>
#include <comet/experts/detail/padding.hpp>
#include <comet/experts/detail/sizes.hpp>

namespace comet {

/// \brief Experts that are not all in one vector, but can be evaluated on all samples: those of
/// several ranks.
///
/// `evaluate_all(x, outputs)`: x is d x B, outputs becomes m x (n B), expert by expert.
/// \see DistributedBank
template <class T>
concept DistributedExperts = TrainableExpert<typename T::Expert> &&
    requires(const T& experts, const Matrix<typename T::Scalar>& x,
             Matrix<typename T::Scalar>& outputs) {
  { experts.size() } -> std::convertible_to<Index>;
  { experts.input_dim() } -> std::convertible_to<Index>;
  experts.evaluate_all(x, outputs);
};

/// \brief The held-out loss of a mixture under candidate permutations, from cached outputs.
///
/// start() evaluates every expert and every gate once on the held-out samples. A candidate that
/// differs from the current permutation in a few slots then costs, besides the loss itself, only
/// the change of the mixtures of the samples that give those slots a weight:
/// y(:, b) += g(i, b) (f_candidate(i)(x_b) - f_current(i)(x_b)).
///
/// Ranks may have held-out samples each: the loss is then the sum over all of them, and a search
/// accepts the same moves on every rank. All of them make the same calls.
///
/// \par Cost  start(): n d m multiply-adds per sample; memory n m scalars per sample
/// \tparam E     a TrainableExpert
/// \tparam Loss  callable: the loss of the mixtures of all tasks, an m x (T B) matrix
template <class E, class Loss>
class MixtureObjective {
 public:
  using S = typename E::Scalar;  ///< Short for Scalar.

  /// \param experts  those of the layer; kept by reference, and read at every start()
  /// \param samples  held-out samples, as the layer's gates want them; copied
  /// \param loss     of the mixtures; those of masked samples are 0
  /// \param ranks    adds up the losses of all ranks, each of which has samples of its own and
  ///                 gives a share of the whole loss
  /// \throws std::invalid_argument if a shape does not fit
  MixtureObjective(const std::vector<E>& experts, const Samples<S>& samples, Loss loss,
                   RankSum ranks = {})
      : MixtureObjective(samples, std::move(loss), ranks) {
    detail::check_at_least(name, "experts.size()", Index(experts.size()), 1);
    detail::check_equal(name, "x.rows()", x_.rows(), "input_dim", experts.front().input_dim());
    num_experts_ = Index(experts.size());
    evaluate_ = [&experts, count = num_experts_](const Matrix<S>& x, Matrix<S>& outputs) {
      check_experts(experts, count, x.rows());
      evaluate(experts, x, outputs);
    };
  }
  /// \brief The same of experts that live on several ranks: all of them start(), together.
  template <DistributedExperts Experts>
  MixtureObjective(const Experts& experts, const Samples<S>& samples, Loss loss, RankSum ranks)
      : MixtureObjective(samples, std::move(loss), ranks) {
    detail::check_equal(name, "x.rows()", x_.rows(), "input_dim", experts.input_dim());
    num_experts_ = experts.size();
    evaluate_ = [&experts](const Matrix<S>& x, Matrix<S>& outputs) {
      experts.evaluate_all(x, outputs);
    };
  }
  /// Experts that are gone at the first start().
  MixtureObjective(const std::vector<E>&&, const Samples<S>&, Loss, RankSum = {}) = delete;

  /// \brief Takes stock of the experts and of what the gates say about the held-out samples.
  /// \throws std::invalid_argument if there is no gate, or one has another number of experts; or if
  ///         the experts are no longer as many, or one is of other sizes than the rest
  template <class Gates>
  void start(const Gates& gates) {
    constexpr const char* where = "MixtureObjective::start";
    detail::check_at_least(where, "gates.size()", std::distance(std::begin(gates), std::end(gates)),
                           1);
    for (const auto& gate : gates)
      detail::check_equal(where, "gate.num_experts()", gate.num_experts(), "experts.size()",
                          num_experts_);
    evaluate_(x_, outputs_);
    weights_.clear();
    current_.clear();
    for (const auto& gate : gates) {
      Routing<S> routing;
      Pass pass(gate.gate());
      gate.gate().route(Samples<S>(x_, ids_, mask_), routing, pass);
      weights_.push_back(routing.dense(num_experts_));
    }
  }

  /// \brief Makes `permutation` the one that candidates are compared with.
  /// \param permutation  the expert of each slot
  /// \throws std::invalid_argument before start(), or unless it is n numbers in 0..n-1
  void move_to(std::span<const ExpertId> permutation) {
    check("MixtureObjective::move_to", "permutation.size()", permutation);
    current_.assign(permutation.begin(), permutation.end());
    const Index num_samples = x_.cols();
    mixtures_.setZero(outputs_.rows(), num_samples * Index(weights_.size()));
    for (std::size_t t = 0; t < weights_.size(); ++t)
      for (Index slot = 0; slot < Index(current_.size()); ++slot)
        add(mixtures_, Index(t), slot, current_[std::size_t(slot)], S(1));
  }

  /// \brief The loss under a candidate permutation, the same on every rank.
  /// \throws std::invalid_argument before move_to(), or unless it is n numbers in 0..n-1
  [[nodiscard]] double loss(std::span<const ExpertId> candidate) {
    constexpr const char* where = "MixtureObjective::loss";
    check(where, "candidate.size()", candidate);
    if (current_.empty())
      detail::raise(where, "there is nothing to compare with; call move_to() first");
    candidate_mixtures_ = mixtures_;
    for (std::size_t t = 0; t < weights_.size(); ++t)
      for (Index slot = 0; slot < Index(current_.size()); ++slot) {
        const ExpertId from = current_[std::size_t(slot)];
        const ExpertId to = candidate[std::size_t(slot)];
        if (from == to) continue;
        add(candidate_mixtures_, Index(t), slot, from, S(-1));
        add(candidate_mixtures_, Index(t), slot, to, S(1));
      }
    return ranks_(double(loss_(std::as_const(candidate_mixtures_))));
  }

 private:
  static constexpr const char* name = "MixtureObjective";

  MixtureObjective(const Samples<S>& samples, Loss loss, RankSum ranks)
      : x_(samples.features),
        ids_(samples.ids.begin(), samples.ids.end()),
        mask_(samples.mask.begin(), samples.mask.end()),
        loss_(std::move(loss)),
        ranks_(ranks) {
    samples.validate(name);  // the mask is read here, not only by the gates
    for (Index b = 0; b < samples.size(); ++b)
      if (!samples.is_live(b)) x_.col(b).setZero();  // experts see finite numbers only
  }

  /// A permutation of others would be looked up beyond the experts' outputs.
  void check(const char* where, const char* size_name,
             std::span<const ExpertId> permutation) const {
    if (weights_.empty()) detail::raise(where, "nothing is known of the gates; call start() first");
    detail::check_equal(where, size_name, Index(permutation.size()), "experts.size()",
                        num_experts_);
    for (const ExpertId expert : permutation)
      detail::check_index(where, "an expert", expert, "experts.size()", num_experts_);
  }

  /// The vector is the user's, who may have changed it since; outputs have room for its first state.
  static void check_experts(const std::vector<E>& experts, Index count, Index input_dim) {
    constexpr const char* where = "MixtureObjective::start";
    detail::check_equal(where, "experts.size()", Index(experts.size()), "that at construction",
                        count);
    detail::check_equal(where, "x.rows()", input_dim, "input_dim", experts.front().input_dim());
    for (const E& expert : experts) detail::check_sizes(where, expert, experts.front());
  }

  static void evaluate(const std::vector<E>& experts, const Matrix<S>& x, Matrix<S>& outputs) {
    const Index num_samples = x.cols();
    const Index output_dim = experts.front().output_dim();
    outputs.resize(output_dim, num_samples * Index(experts.size()));
    for (std::size_t e = 0; e < experts.size(); ++e) {
      const E& expert = experts[e];
      const Index multiple = detail::column_multiple(expert);
      const Index padded = (num_samples + multiple - 1) / multiple * multiple;
      Matrix<S> input = Matrix<S>::Zero(x.rows(), padded);
      input.leftCols(num_samples) = x;
      Matrix<S> output(output_dim, padded), cache(expert.cache_dim(), padded);
      expert.predict(input, output, cache);
      outputs.middleCols(Index(e) * num_samples, num_samples) = output.leftCols(num_samples);
    }
  }

  /// y_task += sign * g_slot * f_expert, for the samples that give the slot a weight.
  void add(Matrix<S>& mixtures, Index task, Index slot, ExpertId expert, S sign) const {
    const Index num_samples = x_.cols();
    const Matrix<S>& weights = weights_[std::size_t(task)];
    for (Index b = 0; b < num_samples; ++b)
      if (const S weight = weights(slot, b); weight != S(0))
        mixtures.col(task * num_samples + b) +=
            (sign * weight) * outputs_.col(expert * num_samples + b);
  }

  std::function<void(const Matrix<S>& x, Matrix<S>& outputs)> evaluate_;  // all experts
  Index num_experts_ = 0;
  Matrix<S> x_;                     // d x B
  std::vector<std::int32_t> ids_;   // B, or none
  std::vector<std::uint8_t> mask_;  // B, or none
  Loss loss_;
  RankSum ranks_;
  Matrix<S> outputs_;               // m x (n B): expert by expert
  std::vector<Matrix<S>> weights_;  // per task, n x B: weights of slots
  std::vector<ExpertId> current_;   // none since start()
  Matrix<S> mixtures_;              // m x (T B), under current_
  Matrix<S> candidate_mixtures_;    // scratch
};

template <DistributedExperts Experts, class Loss>
MixtureObjective(const Experts&, const Samples<typename Experts::Scalar>&, Loss, RankSum)
    -> MixtureObjective<typename Experts::Expert, Loss>;

}  // namespace comet
