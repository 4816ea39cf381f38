// SPDX-License-Identifier: MIT
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/Generator.h>

#include <vector>

#include <comet/core/random.hpp>

#include <bert/model/batch.hpp>
#include <bert/model/bert.hpp>

/// \file
/// \brief For sources that include LibTorch.

namespace programs::bert {

/// \brief A batch as tensors over its memory, each (rows, length).
struct TorchBatch {
  explicit TorchBatch(const LabelledBatch& batch);

  at::Tensor ids, types;
  at::Tensor rows;    ///< the number of its sentence, for each token
  at::Tensor mask;    ///< bool
  at::Tensor labels;  ///< (rows), double; undefined if there are none
};

/// How a network is run.
struct TorchRun {
  bool trains = false;
  double dropout = 0;
  bool keeps_units = false;  ///< the feed-forward blocks' units, with gradients
  bool keeps_attention_probabilities = false;
};

/// What it gives.
struct TorchOutput {
  std::vector<at::Tensor> hidden;  ///< (rows, length, hidden)
  std::vector<at::Tensor> attention;
  std::vector<at::Tensor> attention_probabilities;  ///< (rows, heads, query, key), if kept
  std::vector<at::Tensor> before, after;            ///< units before and after gelu, if kept
  at::Tensor pooled, logits;
  at::Tensor penalty;  ///< of the gates; undefined without any
};

/// \brief A model's numbers as tensors over its memory, and what is computed with them. For the
/// time of a call: it is made in no time, and the model must stay where it is.
template <class S>
class TorchNet {
 public:
  /// \param trains  the tensors ask for gradients
  TorchNet(const Bert<S>& model, bool trains);

  /// \param key  of dropout and of the gates' noise
  [[nodiscard]] TorchOutput run(const TorchBatch& batch, const TorchRun& how,
                                comet::RandomKey key = comet::RandomKey(0));

  /// In the order in which the model visits them.
  [[nodiscard]] const std::vector<at::Tensor>& parameters() const { return parameters_; }

 private:
  [[nodiscard]] at::Tensor next() { return parameters_[at_++]; }
  at::Tensor dropped(const at::Tensor& x, const TorchRun& how);
  at::Tensor affine(const at::Tensor& x);
  at::Tensor norm(const at::Tensor& x);
  at::Tensor embed(const TorchBatch& batch, const TorchRun& how);
  at::Tensor attend(const at::Tensor& x, const TorchBatch& batch, const TorchRun& how,
                    TorchOutput& output);
  at::Tensor feed_forward(const BertLayer<S>& layer, const at::Tensor& x, const TorchBatch& batch,
                          const TorchRun& how, comet::RandomKey key, TorchOutput& output);

  const Bert<S>& model_;
  std::vector<at::Tensor> parameters_;
  std::size_t at_ = 0;
  at::Generator random_;  // of this run's dropout: a run knows of no other
};

}  // namespace programs::bert
