// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include <comet/core/check.hpp>
#include <comet/core/concepts.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

namespace comet {

namespace detail {

/// Stands for the options of a part that has none.
struct WithoutOptions {};

template <class Part>
struct PartOptionsOf {
  using type = WithoutOptions;
};
template <class Part>
requires requires { typename Part::Options; }
struct PartOptionsOf<Part> {
  using type = typename Part::Options;
};
template <class Part>
using PartOptions = typename PartOptionsOf<Part>::type;

}  // namespace detail

/// \brief Expert of layers in a row: each part works on what the one before has made.
///
/// \code
///   using Convolutions = Chain<Convolution2d<float>, MaxPool2d<float>, Dense<float>>;
///   auto experts = make_experts<Convolutions>(
///       16, {{.height = 36, .width = 36, .channels = 1, .filters = 10, .kernel_height = 5,
///             .kernel_width = 5, .activation = Activation::relu},
///            {.height = 32, .width = 32, .channels = 10},
///            {.input_dim = 16 * 16 * 10, .output_dim = 50}}, key);
/// \endcode
///
/// A part is any ColumnFunction: a layer, an expert, one of your own (examples/custom_expert.cpp),
/// another chain. A part's tensors have its number before their name: `0.weight`.
///
/// \par Cost  the sum of its parts'; of a column in training what its parts keep, and twice what
///            they pass on: the numbers and the gradients by them
/// \tparam Parts  one or more, of one Scalar
/// \see ColumnFunction, ExpertBank, MoeLayer
template <class... Parts>
class Chain {
  static_assert(sizeof...(Parts) >= 1 && sizeof...(Parts) <= 100,
                "comet::Chain: of 1 to 100 parts");
  static_assert((ColumnFunction<Parts> && ...),
                "comet::Chain: a part is not a column function (concept ColumnFunction): it needs "
                "Scalar, input_dim(), output_dim(), cache_dim(), cost(), predict, forward, "
                "backward_columns, num_slices(), accumulate_gradients, visit and "
                "independent_columns = true; see core/concepts.hpp");

 public:
  using Scalar = typename std::tuple_element_t<0, std::tuple<Parts...>>::Scalar;  ///< Of all parts.
  using S = Scalar;                                                               ///< Short for it.
  static_assert((std::same_as<typename Parts::Scalar, S> && ...),
                "comet::Chain: parts of different scalar types (float or double)");
  /// A column's bits do not depend on its neighbours.
  static constexpr bool independent_columns = true;
  /// Its input is that of the first part.
  static constexpr bool reads_input_back =
      detail::reads_input_back<std::tuple_element_t<0, std::tuple<Parts...>>>;
  /// Settings of the constructor: those of each part.
  using Options = std::tuple<detail::PartOptions<Parts>...>;
  /// Number of parts.
  static constexpr Index size = sizeof...(Parts);

  /// \throws std::invalid_argument if a part does not take what the one before makes
  explicit Chain(Parts... parts) : parts_(std::move(parts)...) { arrange(); }
  /// Parts of these options, part i with random numbers from key.fold(i).
  /// \throws std::invalid_argument as above, or if a part refuses its options
  Chain(const Options& options, RandomKey key)
      : Chain(std::index_sequence_for<Parts...>(), options, key) {}

  /// Number of input features d.
  [[nodiscard]] Index input_dim() const noexcept { return std::get<0>(parts_).input_dim(); }
  /// Number of outputs m.
  [[nodiscard]] Index output_dim() const noexcept {
    return std::get<sizeof...(Parts) - 1>(parts_).output_dim();
  }
  /// What parts pass on, the gradients by it, and what each keeps.
  [[nodiscard]] Index cache_dim() const noexcept { return cache_dim_; }
  /// Multiply-adds of a column.
  [[nodiscard]] double cost() const noexcept {
    return std::apply([](const Parts&... part) { return (double(part.cost()) + ...); }, parts_);
  }
  /// The i-th part.
  template <std::size_t i>
  [[nodiscard]] const auto& part() const noexcept {
    return std::get<i>(parts_);
  }

  /// \brief y = f(x). \param x  d x width \param y  m x width \param cache  cache_dim() x width
  void predict(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache) const {
    for_each_part([&](auto i, const auto& part) {
      part.predict(input_of<i()>(x, cache), output_of<i()>(y, cache), kept_by<i()>(cache));
    });
  }
  /// \brief The same in training; each part has random numbers of its own.
  void forward(const ConstMatrixView<S>& x, MatrixView<S> y, MatrixView<S> cache,
               const TrainingTile& tile) const {
    for_each_part([&](auto i, const auto& part) {
      part.forward(input_of<i()>(x, cache), output_of<i()>(y, cache), kept_by<i()>(cache),
                   TrainingTile{tile.key.fold(std::uint64_t(i())), tile.samples, tile.first});
    });
  }

  /// \brief From the last part to the first, adds to dx. \param dx  d x width, or no_gradient
  void backward_columns(const ConstMatrixView<S>& x, const ConstMatrixView<S>& y,
                        MatrixView<S> cache, MatrixView<S> dy, MatrixView<S> dx) const {
    backward_from<sizeof...(Parts) - 1>(x, y, cache, dy, dx);
  }
  /// Parts of the parameter gradients that threads can share.
  [[nodiscard]] Index num_slices() const {
    return std::apply([](const Parts&... part) { return (Index(part.num_slices()) + ...); },
                      parts_);
  }
  /// \brief Adds one slice of the parameter gradients; cache and dy as backward_columns() left
  /// them.
  void accumulate_gradients(const ConstMatrixView<S>& x, const ConstMatrixView<S>& cache,
                            const ConstMatrixView<S>& dy, Index slice,
                            GradientView<S> gradients) const {
    for_each_part([&](auto i, const auto& part) {
      const Index count = part.num_slices();
      const GradientView<S> own = gradients.next(part);
      if (slice >= 0 && slice < count)
        part.accumulate_gradients(input_of<i()>(x, cache), kept_by<i()>(cache),
                                  gradient_of<i()>(dy, cache), slice, own);
      slice -= count;
    });
  }

  /// Calls f(number, part).
  template <class F>
  void visit(F&& f) const {
    for_each_part([&](auto i, const auto& part) { f(name_of<i()>(), part); });
  }

 private:
  /// Rows of the cache that are a part's.
  struct Place {
    Index kept = 0;      // what it keeps
    Index output = 0;    // what it passes on; not of the last part
    Index gradient = 0;  // by what it passes on; not of the last part
  };

  template <std::size_t... i>
  Chain(std::index_sequence<i...> /*numbers*/, const Options& options, RandomKey key)
      : Chain(Parts(std::get<i>(options), key.fold(std::uint64_t(i)))...) {}

  /// f(integral_constant i, part i)
  template <class F>
  void for_each_part(F&& f) const {
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      (f(std::integral_constant<std::size_t, i>{}, std::get<i>(parts_)), ...);
    }
    (std::index_sequence_for<Parts...>{});
  }

  void arrange() {
    Index expected = input_dim();
    for_each_part([&](auto i, const auto& part) {
      detail::check_equal("Chain", "input_dim of part " + std::to_string(i()), part.input_dim(),
                          "output_dim of part " + std::to_string(i() - 1), expected);
      expected = part.output_dim();
      Place& place = places_[i()];
      const auto take = [&](Index rows) { return std::exchange(cache_dim_, cache_dim_ + rows); };
      place.kept = take(part.cache_dim());
      if (i() + 1 == sizeof...(Parts)) return;
      place.output = take(part.output_dim());
      place.gradient = take(part.output_dim());
    });
  }

  template <std::size_t i>
  static std::string_view name_of() {
    static constexpr char digits[2] = {char('0' + i / 10), char('0' + i % 10)};
    return i < 10 ? std::string_view(digits + 1, 1) : std::string_view(digits, 2);
  }

  // What part i works on: x, or what the part before has left in the cache; and so on.
  template <std::size_t i, class X, class Cache>
  [[nodiscard]] ConstMatrixView<S> input_of(const X& x, Cache& cache) const {
    if constexpr (i == 0) {
      return x;
    } else {
      return rows(cache, places_[i - 1].output, input_rows<i>());
    }
  }
  template <std::size_t i, class Y, class Cache>
  [[nodiscard]] auto output_of(Y& y, Cache& cache) const {
    if constexpr (i + 1 == sizeof...(Parts)) {
      return y;
    } else {
      return rows(cache, places_[i].output, input_rows<i + 1>());
    }
  }
  template <std::size_t i, class DY, class Cache>
  [[nodiscard]] auto gradient_of(DY& dy, Cache& cache) const {
    if constexpr (i + 1 == sizeof...(Parts)) {
      return dy;
    } else {
      return rows(cache, places_[i].gradient, input_rows<i + 1>());
    }
  }
  template <std::size_t i, class Cache>
  [[nodiscard]] auto kept_by(Cache& cache) const {
    return rows(cache, places_[i].kept, std::get<i>(parts_).cache_dim());
  }
  template <std::size_t i>
  [[nodiscard]] Index input_rows() const {
    return std::get<i>(parts_).input_dim();
  }
  static auto rows(MatrixView<S>& cache, Index first, Index count) {
    return MatrixView<S>(cache.middleRows(first, count));
  }
  static auto rows(const ConstMatrixView<S>& cache, Index first, Index count) {
    return ConstMatrixView<S>(cache.middleRows(first, count));
  }

  template <std::size_t i>
  void backward_from(const ConstMatrixView<S>& x, const ConstMatrixView<S>& y, MatrixView<S>& cache,
                     MatrixView<S>& dy, MatrixView<S>& dx) const {
    const auto back = [&](MatrixView<S> into) {
      std::get<i>(parts_).backward_columns(input_of<i>(x, cache), output_of<i>(y, cache),
                                           kept_by<i>(cache), gradient_of<i>(dy, cache), into);
    };
    if constexpr (i == 0) {
      back(dx);
    } else {
      auto into = gradient_of<i - 1>(dy, cache);
      for (Index c = 0; c < into.cols(); ++c) into.col(c).setZero();
      back(into);
      backward_from<i - 1>(x, y, cache, dy, dx);
    }
  }

  std::tuple<Parts...> parts_;
  std::array<Place, sizeof...(Parts)> places_;
  Index cache_dim_ = 0;
};

}  // namespace comet
