// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <comet/core/parameters.hpp>

#include <bert/model/batch.hpp>
#include <bert/model/bert.hpp>
#include <support/golden.hpp>

/// \file
/// \brief Toy BERTs and batches of the golden files.

namespace comet::test {

/// Relative to the largest entry of a tensor.
template <class S>
inline constexpr double bert_tolerance = std::is_same_v<S, double> ? 1e-9 : 1e-4;

[[nodiscard]] inline programs::bert::BertConfig config_of(const Json& c) {
  return {.vocab = c.at("vocab"),
          .hidden = c.at("hidden"),
          .layers = c.at("layers"),
          .heads = c.at("heads"),
          .intermediate = c.at("intermediate"),
          .positions = c.at("positions"),
          .types = c.at("types"),
          .labels = c.at("labels"),
          .epsilon = c.at("layer_norm_eps")};
}

/// Rows of numbers, as a tensor or as lists.
template <class T>
[[nodiscard]] std::vector<T> numbers(const Json& rows) {
  if (rows.is_object()) return rows.at("data").get<std::vector<T>>();
  std::vector<T> all;
  for (const Json& row : rows)
    for (const Json& each : row) all.push_back(each.get<T>());
  return all;
}

[[nodiscard]] inline programs::bert::LabelledBatch batch_of(const Json& c) {
  const Json& ids = c.at("input_ids");
  const Index size = ids.is_object() ? ids.at("shape").at(0).get<Index>() : Index(ids.size());
  const auto tokens = [&](const char* name) {
    const auto values = numbers<std::int64_t>(c.at(name));
    return programs::bert::TokenMatrix(Eigen::Map<const programs::bert::TokenMatrix>(
        values.data(), Index(values.size()) / size, size));
  };
  programs::bert::LabelledBatch batch{
      {tokens("input_ids"), tokens("token_type_ids"), tokens("attention_mask")}, {}};
  if (c.contains("labels")) batch.labels = numbers<double>(c.at("labels"));
  return batch;
}

/// A dense model. \param params  by the names of pretrained files
template <class S>
[[nodiscard]] programs::bert::Bert<S> bert_of(const Json& config, const Json& params) {
  programs::bert::Bert<S> model(config_of(config));
  for_each_parameter(model, [&](const ParameterName& name, Parameter<S>& parameter) {
    const Matrix<S> given = matrix<S>(params.at(name.str()));
    if (given.size() != parameter.size()) throw std::runtime_error(name.str() + " has other sizes");
    std::copy_n(given.data(), given.size(), parameter.data());
  });
  return model;
}

/// The columns of real tokens.
template <class S>
[[nodiscard]] Matrix<S> real(const Matrix<S>& columns, const programs::bert::LabelledBatch& batch) {
  Matrix<S> kept(columns.rows(), batch.tokens());
  Index to = 0;
  for (Index c = 0; c < columns.cols(); ++c)
    if (batch.sentences.mask.data()[c] != 0) kept.col(to++) = columns.col(c);
  return kept;
}

}  // namespace comet::test
