// SPDX-License-Identifier: MIT
#pragma once

#include <span>
#include <vector>

#include <comet/core/types.hpp>

#include <bert/data/tokenizer.hpp>
#include <bert/model/bert.hpp>

namespace programs::bert {

/// \brief The pieces of a vocabulary that some sentences use, numbered anew.
///
/// A task uses a few thousand of thirty thousand pieces. The rows of the others have no gradient,
/// and half of all parameters are in them: a training without them is the same, but for their
/// decay, and its optimizer has half the work.
class UsedPieces {
 public:
  /// \param vocabulary  pieces in all \param padding  is used, whether there or not
  UsedPieces(Index vocabulary, TokenId padding);

  void add(std::span<const Encoded> sentences);
  /// Numbers the pieces, in their order. Nothing is added from then on.
  void number();

  /// How many are used.
  [[nodiscard]] Index size() const noexcept { return Index(used_.size()); }
  /// The new number of a piece that is used.
  [[nodiscard]] TokenId new_number(TokenId piece) const;
  void renumber(std::vector<Encoded>& sentences) const;

  /// \brief A model of these pieces alone. \param model  of the whole vocabulary
  [[nodiscard]] Bert<float> cut(const Bert<float>& model) const;
  /// \brief The model of the whole vocabulary again.
  /// \param words  the word table of the others
  [[nodiscard]] Bert<float> whole(const Bert<float>& model,
                                  const comet::Matrix<float>& words) const;

 private:
  std::vector<TokenId> new_;   // of each piece; -1 for one that is not used
  std::vector<TokenId> used_;  // ascending
};

}  // namespace programs::bert
