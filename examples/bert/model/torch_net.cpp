// SPDX-License-Identifier: MIT
#include <bert/model/torch_net.hpp>

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include <comet/core/parameters.hpp>

#include <bert/model/mixture_module.hpp>

namespace programs::bert {
namespace {

at::Tensor tensor_of(const TokenMatrix& numbers) {
  return at::from_blob(const_cast<std::int64_t*>(numbers.data()), {numbers.cols(), numbers.rows()},
                       at::TensorOptions(at::kLong));
}

/// Over the memory of a parameter.
template <class S>
at::Tensor tensor_of(const comet::Parameter<S>& parameter) {
  return at::from_blob(const_cast<S*>(parameter.data()), parameter.shape(),
                       at::TensorOptions(c10::CppTypeToScalarType<S>::value));
}

/// The module's tensors go on from one call to the next: what they ask for is set for this one.
template <class S>
void append_parameters(const Mixture<S>& mixture, bool trains, std::vector<at::Tensor>& to) {
  const auto by_name = mixture.module().moe->named_parameters();
  comet::for_each_parameter(mixture, [&](const comet::ParameterName& name, const auto&) {
    at::Tensor tensor = by_name[name.str()];
    tensor.set_requires_grad(trains);
    to.push_back(tensor);
  });
}

/// The noise of a step is a function of its key alone.
template <class S>
void set_key(const Mixture<S>& mixture, comet::RandomKey key) {
  at::Tensor random = mixture.module().moe->named_buffers()["random"];
  random[0] = std::int64_t(key.value());
  random[1] = 0;
}

}  // namespace

TorchBatch::TorchBatch(const LabelledBatch& batch)
    : ids(tensor_of(batch.sentences.ids)),
      types(tensor_of(batch.sentences.types)),
      rows(at::tensor(batch.sentence_of_tokens()).view({batch.size(), batch.length()})),
      mask(tensor_of(batch.sentences.mask).to(at::kBool)) {
  if (!batch.labels.empty())
    labels = at::from_blob(const_cast<double*>(batch.labels.data()), {batch.size()},
                           at::TensorOptions(at::kDouble));
}

template <class S>
TorchNet<S>::TorchNet(const Bert<S>& model, bool trains) : model_(model) {
  const auto append = [&](const auto& part) {
    comet::for_each_parameter(part, [&](const comet::ParameterName&, const auto& parameter) {
      parameters_.push_back(tensor_of(parameter).set_requires_grad(trains));
    });
  };
  model.visit([&](const comet::ParameterName&, const auto& child) {
    using Child = std::remove_cvref_t<decltype(child)>;
    if constexpr (comet::detail::is_parameter<Child>) {
      parameters_.push_back(tensor_of(child).set_requires_grad(trains));
    } else if constexpr (std::is_same_v<Child, typename Bert<S>::Layers>) {
      for (const BertLayer<S>& layer : child)
        layer.visit([&](const comet::ParameterName&, const auto& part) {
          if constexpr (std::is_same_v<std::remove_cvref_t<decltype(part)>, Mixture<S>>) {
            append_parameters(part, trains, parameters_);
          } else {
            append(part);
          }
        });
    } else {
      append(child);
    }
  });
}

template <class S>
at::Tensor TorchNet<S>::dropped(const at::Tensor& x, const TorchRun& how) {
  if (!how.trains || how.dropout == 0) return x;
  const double kept = 1 - how.dropout;
  return x * (at::empty_like(x, x.options().requires_grad(false)).bernoulli_(kept, random_) / kept);
}

template <class S>
at::Tensor TorchNet<S>::affine(const at::Tensor& x) {
  const at::Tensor weight = next(), bias = next();
  return at::linear(x, weight, bias);
}

template <class S>
at::Tensor TorchNet<S>::norm(const at::Tensor& x) {
  const at::Tensor weight = next(), bias = next();
  return at::layer_norm(x, {model_.config().hidden}, weight, bias, model_.config().epsilon);
}

template <class S>
at::Tensor TorchNet<S>::embed(const TorchBatch& batch, const TorchRun& how) {
  const at::Tensor word = next(), position = next(), type = next();
  const at::Tensor sum = at::embedding(word, batch.ids) + at::embedding(type, batch.types) +
                         position.slice(0, 0, batch.ids.size(1));
  return dropped(norm(sum), how);
}

template <class S>
at::Tensor TorchNet<S>::attend(const at::Tensor& x, const TorchBatch& batch, const TorchRun& how,
                               TorchOutput& output) {
  const std::int64_t rows = x.size(0), length = x.size(1), heads = model_.config().heads;
  const std::int64_t size = model_.config().hidden / heads;
  const auto by_head = [&] { return affine(x).view({rows, length, heads, size}).transpose(1, 2); };
  const at::Tensor query = by_head(), key = by_head(), value = by_head();
  const at::Tensor padding = batch.mask.logical_not().view({rows, 1, 1, length});
  const at::Tensor probabilities =
      (at::matmul(query, key.transpose(2, 3)) / std::sqrt(double(size)))
          .masked_fill(padding, -std::numeric_limits<double>::infinity())
          .softmax(-1);
  if (how.keeps_attention_probabilities) output.attention_probabilities.push_back(probabilities);
  const at::Tensor context = at::matmul(dropped(probabilities, how), value)
                                 .transpose(1, 2)
                                 .reshape({rows, length, heads * size});
  return norm(x + dropped(affine(context), how));
}

template <class S>
at::Tensor TorchNet<S>::feed_forward(const BertLayer<S>& layer, const at::Tensor& x,
                                     const TorchBatch& batch, const TorchRun& how,
                                     comet::RandomKey key, TorchOutput& output) {
  at::Tensor added;
  if (layer.mixture) {
    auto& moe = layer.mixture->module().moe;
    at_ += std::size_t(comet::count_tensors(*layer.mixture));
    moe->train(how.trains);
    set_key(*layer.mixture, key);
    added = moe->forward(x, layer.mixture->of_sentences() ? batch.rows : batch.ids, batch.mask);
    if (how.trains) {
      const at::Tensor penalty = moe->regularization();
      output.penalty = output.penalty.defined() ? output.penalty + penalty : penalty;
    }
  } else {
    const at::Tensor before = affine(x);
    const at::Tensor after = at::gelu(before);
    if (how.keeps_units) {
      output.before.push_back(before);
      output.after.push_back(after);
    }
    added = affine(after);
  }
  return norm(x + dropped(added, how));
}

template <class S>
TorchOutput TorchNet<S>::run(const TorchBatch& batch, const TorchRun& how, comet::RandomKey key) {
  TorchOutput output;
  at_ = 0;
  random_ = at::make_generator<at::CPUGeneratorImpl>(key.fold(0).value());
  output.hidden.push_back(embed(batch, how));
  for (const BertLayer<S>& layer : model_.layers) {
    output.attention.push_back(attend(output.hidden.back(), batch, how, output));
    output.hidden.push_back(feed_forward(layer, output.attention.back(), batch, how,
                                         key.fold(output.hidden.size()), output));
  }
  output.pooled = affine(output.hidden.back().select(1, 0)).tanh();
  output.logits = affine(dropped(output.pooled, how));
  return output;
}

template class TorchNet<float>;
template class TorchNet<double>;

}  // namespace programs::bert
