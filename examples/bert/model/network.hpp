// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <span>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

#include <bert/model/batch.hpp>
#include <bert/model/bert.hpp>

/// \file
/// \brief What LibTorch computes with a model's numbers: forward, losses and gradients. No header
/// of LibTorch's is needed to call it.

namespace programs::bert {

/// \brief Keeps LibTorch's own loops on one thread: some of its sums, those of layer norms'
/// gradients for one, depend on how many share them. Its matrix products are the BLAS's, with the
/// BLAS's threads, and mixtures have comet's.
void use_one_torch_thread();

/// \brief What a model makes of a batch. Tokens are columns, row after row, padding included.
template <class S>
struct Activations {
  std::vector<comet::Matrix<S>> hidden;     ///< of the embeddings, then of each layer
  std::vector<comet::Matrix<S>> attention;  ///< of each layer, what its feed-forward part sees
  std::vector<comet::Matrix<S>> attention_probabilities;  ///< key x (row head query)
  comet::Matrix<S> pooled;                                ///< hidden x rows
  comet::Matrix<S> logits;                                ///< labels x rows
};

/// \brief Without dropout and gradients.
/// \param with_attention_probabilities  they are large
/// \throws std::invalid_argument if the batch does not fit
template <class S>
[[nodiscard]] Activations<S> activations(const Bert<S>& model, const LabelledBatch& batch,
                                         bool with_attention_probabilities = false);

/// \brief What a teacher says of a batch: its part of Activations.
template <class S>
struct Answers {
  std::vector<comet::Matrix<S>> hidden;
  comet::Matrix<S> logits;
};

/// The parts of a loss, without their factors, each a mean.
struct LossTerms {
  double task = 0;       ///< cross-entropy, or squared error where there is one label
  double hidden = 0;     ///< squared error over real tokens, summed over the hidden states
  double symmetric = 0;  ///< Kullback-Leibler divergence of the logits, half of both directions
  double penalty = 0;    ///< of the gates, by their strengths
  double total = 0;      ///< what is trained
};

/// \brief What is trained.
struct Objective {
  double lambda = 0;   ///< factor of hidden error and divergence, if there is a teacher
  double dropout = 0;  ///< of embeddings, attention, what both parts of a layer add, and pooled
};

/// \brief Adds the gradients of total = task + lambda (hidden + symmetric) + penalty.
/// \param teacher  of the same hidden size and depth, or null; it runs without dropout
/// \param key      of dropout and of the gates' noise: the same key, the same bits
/// \throws std::invalid_argument if the batch has no labels or does not fit
template <class S>
LossTerms accumulate_gradients(Bert<S>& model, const Bert<S>* teacher, const LabelledBatch& batch,
                               const Objective& objective, comet::RandomKey key,
                               comet::GradientView<S> gradients);
/// The same with what a teacher has said of the batch. Hidden states of padding do not matter.
template <class S>
LossTerms accumulate_gradients(Bert<S>& model, const Answers<S>& teacher,
                               const LabelledBatch& batch, const Objective& objective,
                               comet::RandomKey key, comet::GradientView<S> gradients);

/// What a model says of a batch, and how far it is from the labels and from a teacher.
template <class S>
struct Judged {
  LossTerms terms;          ///< no penalty and total
  comet::Matrix<S> logits;  ///< labels x rows
  /// Of each layer, what its mixture sees, padding included; of a model with mixtures.
  std::vector<comet::Matrix<S>> attention;
  double seconds = 0;  ///< of the model, without the teacher
};

/// \brief Without dropout and gradients.
/// \param teacher  as in accumulate_gradients()
template <class S>
[[nodiscard]] Judged<S> judge(const Bert<S>& model, const Bert<S>* teacher,
                              const LabelledBatch& batch);

/// \brief How much the units of a dense model's feed-forward blocks matter to its loss:
///
///     sum over sentences of | w1_j . dL/dw1_j + w2_j . dL/dw2_j |
///
/// L being the loss of that sentence alone, w1_j and w2_j the weights into unit j and out of it;
/// biases take no part (Zuo et al., MoEBERT, NAACL 2022).
/// \return one column a layer, one row a unit
/// \throws std::invalid_argument if a layer has a mixture, or a batch does not fit
template <class S>
[[nodiscard]] comet::Matrix<S> importance(const Bert<S>& model,
                                          std::span<const LabelledBatch> batches);

}  // namespace programs::bert
