// SPDX-License-Identifier: MIT
#include <bert/model/network.hpp>

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <comet/core/check.hpp>

#include <bert/model/torch_net.hpp>

namespace programs::bert {
namespace {

/// (..., size) as size x the rest.
template <class S>
comet::Matrix<S> columns(const at::Tensor& tensor) {
  const at::Tensor in_order = tensor.detach().contiguous();
  const Index rows = in_order.size(-1);
  return Eigen::Map<const comet::Matrix<S>>(in_order.data_ptr<S>(), rows, in_order.numel() / rows);
}

template <class S>
std::vector<comet::Matrix<S>> columns(const std::vector<at::Tensor>& tensors) {
  std::vector<comet::Matrix<S>> result;
  for (const at::Tensor& tensor : tensors) result.push_back(columns<S>(tensor));
  return result;
}

/// Of the labels, for every row.
at::Tensor task_losses(const at::Tensor& logits, const at::Tensor& labels) {
  if (logits.size(1) == 1) return (logits.squeeze(1) - labels.to(logits.scalar_type())).square();
  return at::cross_entropy_loss(logits, labels.to(at::kLong), {}, at::Reduction::None);
}

at::Tensor hidden_error(const TorchOutput& student, const TorchOutput& teacher,
                        const at::Tensor& mask) {
  const at::Tensor real = mask.unsqueeze(2).to(student.logits.scalar_type());
  at::Tensor sum;
  for (std::size_t i = 0; i < student.hidden.size(); ++i) {
    const at::Tensor error = ((student.hidden[i] - teacher.hidden[i]).square() * real).sum();
    sum = sum.defined() ? sum + error : error;
  }
  return sum / (real.sum() * student.hidden.front().size(2));
}

at::Tensor symmetric_divergence(const at::Tensor& student, const at::Tensor& teacher) {
  const at::Tensor p = student.log_softmax(1), q = teacher.log_softmax(1);
  return ((p.exp() - q.exp()) * (p - q)).sum() / (2.0 * double(student.size(0)));
}

struct TorchTerms {
  at::Tensor task, hidden, symmetric, penalty;

  TorchTerms(const TorchOutput& output, const TorchOutput* teacher, const TorchBatch& batch)
      : task(task_losses(output.logits, batch.labels).mean()), penalty(output.penalty) {
    if (teacher == nullptr) return;
    hidden = hidden_error(output, *teacher, batch.mask);
    symmetric = symmetric_divergence(output.logits, teacher->logits);
  }

  [[nodiscard]] at::Tensor total(double lambda) const {
    at::Tensor sum = task;
    if (hidden.defined()) sum = sum + lambda * (hidden + symmetric);
    return penalty.defined() ? sum + penalty : sum;
  }
  [[nodiscard]] LossTerms numbers() const {
    const auto number = [](const at::Tensor& tensor) {
      return tensor.defined() ? tensor.item<double>() : 0.0;
    };
    return {.task = number(task),
            .hidden = number(hidden),
            .symmetric = number(symmetric),
            .penalty = number(penalty)};
  }
};

template <class S>
void check_labelled(const char* where, const Bert<S>& model, const LabelledBatch& batch) {
  check(batch, model.config());
  if (batch.labels.empty()) comet::detail::raise(where, "the batch has no labels");
}

template <class S>
void check_teacher(const char* where, const Bert<S>& model, const Bert<S>* teacher) {
  if (teacher == nullptr) return;
  const BertConfig &of = teacher->config(), &ours = model.config();
  comet::detail::check_equal(where, "the teacher's hidden_size", of.hidden, "the student's",
                             ours.hidden);
  comet::detail::check_equal(where, "the teacher's num_hidden_layers", of.layers, "the student's",
                             ours.layers);
  comet::detail::check_equal(where, "the teacher's num_labels", of.labels, "the student's",
                             ours.labels);
}

/// Columns as (..., rows of the matrix), over its memory.
template <class S>
at::Tensor tensor_over(const comet::Matrix<S>& matrix, std::vector<std::int64_t> shape) {
  shape.push_back(matrix.rows());
  return at::from_blob(const_cast<S*>(matrix.data()), shape,
                       at::TensorOptions(c10::CppTypeToScalarType<S>::value));
}

template <class S>
TorchOutput taught(const char* where, const Bert<S>& model, const Answers<S>& teacher,
                   const LabelledBatch& batch) {
  const BertConfig& ours = model.config();
  comet::detail::check_equal(where, "teacher.hidden.size()", Index(teacher.hidden.size()),
                             "the student's hidden states", ours.layers + 1);
  comet::detail::check_equal(where, "teacher.logits.rows()", teacher.logits.rows(),
                             "the student's num_labels", ours.labels);
  TorchOutput output;
  for (const comet::Matrix<S>& hidden : teacher.hidden) {
    comet::detail::check_equal(where, "teacher.hidden.rows()", hidden.rows(),
                               "the student's hidden_size", ours.hidden);
    comet::detail::check_equal(where, "teacher.hidden.cols()", hidden.cols(), "tokens of the batch",
                               batch.size() * batch.length());
    output.hidden.push_back(tensor_over(hidden, {batch.size(), batch.length()}));
  }
  comet::detail::check_equal(where, "teacher.logits.cols()", teacher.logits.cols(),
                             "rows of the batch", batch.size());
  output.logits = tensor_over(teacher.logits, {batch.size()});
  return output;
}

template <class S>
std::optional<TorchOutput> taught(const Bert<S>* teacher, const TorchBatch& batch) {
  if (teacher == nullptr) return std::nullopt;
  const at::NoGradGuard none;
  return TorchNet<S>(*teacher, false).run(batch, {});
}

template <class S>
void add(const std::vector<at::Tensor>& from, comet::GradientView<S> to) {
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (!from[i].defined()) continue;  // a part that nothing depends on
    auto sum = to[Index(i)];
    sum += Eigen::Map<const comet::Matrix<S>>(from[i].contiguous().template data_ptr<S>(),
                                              sum.rows(), sum.cols());
  }
}

std::vector<at::Tensor> gradients_of(const at::Tensor& loss, const std::vector<at::Tensor>& by) {
  return torch::autograd::grad({loss}, by, {}, /*retain_graph=*/false, /*create_graph=*/false,
                               /*allow_unused=*/true);
}

template <class S>
LossTerms add_gradients(Bert<S>& model, const TorchOutput* goal, const TorchBatch& batch,
                        const Objective& objective, comet::RandomKey key,
                        comet::GradientView<S> gradients) {
  TorchNet<S> net(model, true);
  const TorchOutput output = net.run(batch, {.trains = true, .dropout = objective.dropout}, key);
  const TorchTerms terms(output, goal, batch);
  const at::Tensor total = terms.total(objective.lambda);
  add(gradients_of(total, net.parameters()), gradients);
  LossTerms result = terms.numbers();
  result.total = total.item<double>();
  return result;
}

}  // namespace

void use_one_torch_thread() { at::set_num_threads(1); }

template <class S>
Activations<S> activations(const Bert<S>& model, const LabelledBatch& batch,
                           bool with_attention_probabilities) {
  check(batch, model.config());
  const at::NoGradGuard none;
  const TorchOutput output =
      TorchNet<S>(model, false)
          .run(TorchBatch(batch), {.keeps_attention_probabilities = with_attention_probabilities});
  return {.hidden = columns<S>(output.hidden),
          .attention = columns<S>(output.attention),
          .attention_probabilities = columns<S>(output.attention_probabilities),
          .pooled = columns<S>(output.pooled),
          .logits = columns<S>(output.logits)};
}

template <class S>
LossTerms accumulate_gradients(Bert<S>& model, const Bert<S>* teacher, const LabelledBatch& batch,
                               const Objective& objective, comet::RandomKey key,
                               comet::GradientView<S> gradients) {
  constexpr const char* where = "accumulate_gradients";
  check_labelled(where, model, batch);
  check_teacher(where, model, teacher);
  gradients.validate(where, model);
  const TorchBatch tensors(batch);
  const std::optional<TorchOutput> goal = taught(teacher, tensors);
  return add_gradients(model, goal ? &*goal : nullptr, tensors, objective, key, gradients);
}

template <class S>
LossTerms accumulate_gradients(Bert<S>& model, const Answers<S>& teacher,
                               const LabelledBatch& batch, const Objective& objective,
                               comet::RandomKey key, comet::GradientView<S> gradients) {
  constexpr const char* where = "accumulate_gradients";
  check_labelled(where, model, batch);
  gradients.validate(where, model);
  const TorchOutput goal = taught(where, model, teacher, batch);
  return add_gradients(model, &goal, TorchBatch(batch), objective, key, gradients);
}

template <class S>
Judged<S> judge(const Bert<S>& model, const Bert<S>* teacher, const LabelledBatch& batch) {
  constexpr const char* where = "judge";
  check_labelled(where, model, batch);
  check_teacher(where, model, teacher);
  const at::NoGradGuard none;
  const TorchBatch tensors(batch);
  const std::optional<TorchOutput> goal = taught(teacher, tensors);
  const auto start = std::chrono::steady_clock::now();
  const TorchOutput output = TorchNet<S>(model, false).run(tensors, {});
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return {.terms = TorchTerms(output, goal ? &*goal : nullptr, tensors).numbers(),
          .logits = columns<S>(output.logits),
          .attention = model.gates().empty() ? std::vector<comet::Matrix<S>>()
                                             : columns<S>(output.attention),
          .seconds = seconds.count()};
}

template <class S>
comet::Matrix<S> importance(const Bert<S>& model, std::span<const LabelledBatch> batches) {
  constexpr const char* where = "importance";
  for (const BertLayer<S>& layer : model.layers)
    if (!layer.block) comet::detail::raise(where, "the model is not dense");
  const BertConfig& config = model.config();
  comet::Matrix<S> sums = comet::Matrix<S>::Zero(config.intermediate, config.layers);
  for (const LabelledBatch& batch : batches) {
    check_labelled(where, model, batch);
    const TorchBatch tensors(batch);
    // Without dropout, but with a graph: the backward pass goes through every sentence's tokens.
    TorchNet<S> net(model, true);
    const TorchOutput output = net.run(tensors, {.keeps_units = true});
    std::vector<at::Tensor> units = output.before;
    units.insert(units.end(), output.after.begin(), output.after.end());
    const auto slopes = gradients_of(task_losses(output.logits, tensors.labels).sum(), units);
    const at::NoGradGuard none;
    for (std::size_t l = 0; l < model.layers.size(); ++l) {
      const auto& bias = model.layers[l].block->intermediate.bias;
      const at::Tensor shift = at::from_blob(const_cast<S*>(bias.data()), {config.intermediate},
                                             output.before[l].options().requires_grad(false));
      // With z = w1_j . x + b1_j and a = gelu(z), summed over tokens, w1_j . dL/dw1_j is
      // (z - b1_j) dL/dz, and w2_j . dL/dw2_j is a dL/da.
      const at::Tensor by_token = (output.before[l] - shift) * slopes[l] +
                                  output.after[l] * slopes[model.layers.size() + l];
      sums.col(Index(l)) += columns<S>(by_token.sum(1).abs().sum(0));
    }
  }
  return sums;
}

template Activations<float> activations(const Bert<float>&, const LabelledBatch&, bool);
template Activations<double> activations(const Bert<double>&, const LabelledBatch&, bool);
template LossTerms accumulate_gradients(Bert<float>&, const Bert<float>*, const LabelledBatch&,
                                        const Objective&, comet::RandomKey,
                                        comet::GradientView<float>);
template LossTerms accumulate_gradients(Bert<double>&, const Bert<double>*, const LabelledBatch&,
                                        const Objective&, comet::RandomKey,
                                        comet::GradientView<double>);
template LossTerms accumulate_gradients(Bert<float>&, const Answers<float>&, const LabelledBatch&,
                                        const Objective&, comet::RandomKey,
                                        comet::GradientView<float>);
template LossTerms accumulate_gradients(Bert<double>&, const Answers<double>&, const LabelledBatch&,
                                        const Objective&, comet::RandomKey,
                                        comet::GradientView<double>);
template Judged<float> judge(const Bert<float>&, const Bert<float>*, const LabelledBatch&);
template Judged<double> judge(const Bert<double>&, const Bert<double>*, const LabelledBatch&);
template comet::Matrix<float> importance(const Bert<float>&, std::span<const LabelledBatch>);
template comet::Matrix<double> importance(const Bert<double>&, std::span<const LabelledBatch>);

}  // namespace programs::bert
