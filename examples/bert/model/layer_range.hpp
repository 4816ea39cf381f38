// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <iterator>
#include <type_traits>
#include <utility>
#include <vector>

namespace programs::bert {

/// \brief One thing of each layer that has a mixture, as a range: its gate, for example.
/// \tparam Layers  a vector of layers, which outlives the range
/// \tparam Access  get(mixture) gives a reference, worked out whenever it is asked for
template <class Layers, class Access>
class LayerRange {
 public:
  LayerRange() = default;
  explicit LayerRange(Layers& layers) {
    for (auto& layer : layers)
      if (layer.mixture) mixtures_.push_back(&*layer.mixture);
  }

  [[nodiscard]] std::size_t size() const { return mixtures_.size(); }
  [[nodiscard]] bool empty() const { return mixtures_.empty(); }
  [[nodiscard]] decltype(auto) operator[](std::size_t i) const {
    return Access::get(*mixtures_[i]);
  }
  [[nodiscard]] decltype(auto) front() const { return (*this)[0]; }

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using difference_type = std::ptrdiff_t;
    using reference = decltype(std::declval<const LayerRange&>()[0]);
    using value_type = std::remove_cvref_t<reference>;
    using pointer = std::add_pointer_t<reference>;

    Iterator() = default;
    Iterator(const LayerRange* range, std::size_t place) : range_(range), place_(place) {}
    [[nodiscard]] reference operator*() const { return (*range_)[place_]; }
    Iterator& operator++() {
      ++place_;
      return *this;
    }
    Iterator operator++(int) {
      const Iterator before = *this;
      ++place_;
      return before;
    }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    const LayerRange* range_ = nullptr;
    std::size_t place_ = 0;
  };
  [[nodiscard]] Iterator begin() const { return {this, 0}; }
  [[nodiscard]] Iterator end() const { return {this, size()}; }

 private:
  using Mixture = std::remove_reference_t<decltype(*std::declval<Layers&>().front().mixture)>;
  std::vector<Mixture*> mixtures_;
};

}  // namespace programs::bert
