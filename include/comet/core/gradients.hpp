// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <concepts>
#include <span>
#include <type_traits>
#include <vector>

#include <comet/core/buffer.hpp>
#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/types.hpp>

/// \file
/// \brief Gradients live apart from the model: a model that is served has none, and several threads
/// can train one model.

namespace comet {

/// \brief Where backward passes add the gradients of a part: one matrix per tensor, in the order in
/// which the part visits them. A view: the numbers belong to a Gradients.
template <class S>
class GradientView {
 public:
  /// Where a tensor's gradient lies.
  struct Place {
    Index offset;  ///< Of its first number.
    Index rows;    ///< As the parameter's.
    Index cols;    ///< As the parameter's.
  };

  /// None.
  GradientView() = default;
  /// \param places  must stay while the view is used
  GradientView(S* values, std::span<const Place> places) : values_(values), places_(places) {}

  /// Number of tensors.
  [[nodiscard]] Index size() const noexcept { return Index(places_.size()); }
  /// The gradient of the i-th tensor, of the parameter's rows and columns.
  [[nodiscard]] Eigen::Map<Matrix<S>, Eigen::AlignedMax> operator[](Index i) const {
    const Place& place = places_[std::size_t(i)];
    return {values_ + place.offset, place.rows, place.cols};
  }
  /// `count` tensors from the `first` on: those of a child.
  [[nodiscard]] GradientView middle(Index first, Index count) const {
    return {values_, places_.subspan(std::size_t(first), std::size_t(count))};
  }
  /// Takes the tensors of the next child off the front.
  template <class Part>
  [[nodiscard]] GradientView next(const Part& part) {
    const Index count = count_tensors(part);
    const GradientView taken = middle(0, count);
    *this = middle(count, size() - count);
    return taken;
  }

  /// \brief Whether these are gradients of such a model.
  template <class Model>
  [[nodiscard]] bool fits(const Model& model) const {
    bool same = true;
    const Index count = compare(model, [&](const ParameterName&) { same = false; });
    return same && count == size();
  }

  /// \brief Checks that these are gradients of such a model.
  /// \throws std::invalid_argument naming the first tensor that differs
  template <class Model>
  void validate(std::string_view where, const Model& model) const {
    const Index count = compare(model, [&](const ParameterName& name) {
      detail::raise(where, "the gradients are of another model, from " + name.str() + " on");
    });
    detail::check_equal(where, "gradients.size()", size(), "number of tensors", count);
  }

 private:
  /// Calls differs(name) for every tensor of a model that has no gradient of its shape here.
  /// \return the number of tensors
  template <class Model, class Differs>
  Index compare(const Model& model, Differs differs) const {
    Index i = 0;
    for_each_parameter(model, [&](const ParameterName& name, const auto& parameter) {
      if (i >= size() || places_[std::size_t(i)].rows != parameter.rows() ||
          places_[std::size_t(i)].cols != parameter.cols()) [[unlikely]]
        differs(name);
      ++i;
    });
    return i;
  }

  S* values_ = nullptr;
  std::span<const Place> places_;
};

/// \brief The gradients of a model: zeros at first, added to by backward passes, used and set to
/// zero by an optimizer.
///
/// All of them lie in one piece of memory, each tensor at an aligned place, so that they can be
/// summed over threads or ranks, clipped and cleared as one vector.
/// \tparam S  float or double, the scalar of the model
template <class S>
class Gradients {
 public:
  using Scalar = S;  ///< float or double.

  /// None yet.
  Gradients() = default;
  /// Zeros, one matrix per tensor of the model.
  template <class Model>
  requires(!std::same_as<Model, Gradients>) explicit Gradients(const Model& model) {
    detail::check_model<Model>();
    constexpr Index multiple = 64 / Index(sizeof(S));  // a cache line: no two tensors share one
    Index total = 0;
    for_each_parameter(model, [&](const ParameterName&, const auto& parameter) {
      static_assert(std::floating_point<typename std::remove_cvref_t<decltype(parameter)>::Scalar>,
                    "comet: a part of this model only predicts, its weights may be kept in fewer "
                    "bits: it has no gradients and cannot be trained");
      places_.push_back({total, parameter.rows(), parameter.cols()});
      total += (parameter.size() + multiple - 1) / multiple * multiple;
    });
    values_.assign(std::size_t(total), S(0));
  }

  /// All of them, for the model's backward pass.
  [[nodiscard]] GradientView<S> view() noexcept { return {values_.data(), places_}; }
  /// All of them, for the model's backward pass.
  operator GradientView<S>() noexcept { return view(); }  // NOLINT: conversion is the purpose

  /// Number of tensors.
  [[nodiscard]] Index size() const noexcept { return Index(places_.size()); }
  /// The gradient of the i-th tensor.
  [[nodiscard]] auto operator[](Index i) { return view()[i]; }
  /// Every number, with zeros between tensors: for sums over threads and ranks.
  [[nodiscard]] std::span<S> values() noexcept { return values_; }
  /// Every number, with zeros between tensors.
  [[nodiscard]] std::span<const S> values() const noexcept { return values_; }

  /// Sets them to zero.
  void set_zero() { std::fill(values_.begin(), values_.end(), S(0)); }

 private:
  std::vector<typename GradientView<S>::Place> places_;
  AlignedVector<S> values_;
};

/// Of the model's scalar.
template <class Model>
Gradients(const Model&) -> Gradients<typename Model::Scalar>;

}  // namespace comet
