// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>

#include <next_character/data/windows.hpp>
#include <next_character/model/model.hpp>
#include <programs/base/figures.hpp>
#include <programs/base/ranks.hpp>

namespace programs::next_character {

/// In bits.
[[nodiscard]] double bits_of(double nats);

/// \brief Predicts places of a text, evenly spread over all of it, and scores that.
class Evaluator {
 public:
  /// \param text  has to outlive this
  /// \param most  places at most
  Evaluator(std::span<const Symbol> text, Index window, std::size_t batch_size, std::size_t most);

  [[nodiscard]] std::size_t num_places() const noexcept { return places_; }

  /// \throws comet::NotFinite for a model that has diverged
  /// \param ranks  that share the batches, may be null
  Figures evaluate(const Model& model, Model::Pass& pass, Ranks* ranks = nullptr);

 private:
  Windows windows_;
  std::size_t batch_size_;
  std::size_t places_;
};

}  // namespace programs::next_character
