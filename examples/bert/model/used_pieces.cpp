// SPDX-License-Identifier: MIT
#include <bert/model/used_pieces.hpp>

#include <cstddef>

#include <comet/core/routing.hpp>
#include <comet/gates/hash.hpp>

namespace programs::bert {
namespace {

using Hash = comet::HashGate<float>;

/// Gates that are tables have a line for each piece. \param table  makes the new one of the old
template <class F>
void change_tables(Bert<float>& model, F table) {
  for (auto& gate : model.gates())
    if (Hash* const hash = gate.gate().get_if<Hash>(); hash != nullptr)
      *hash = Hash(table(*hash), hash->num_experts());
}

}  // namespace

UsedPieces::UsedPieces(Index vocabulary, TokenId padding) : new_(std::size_t(vocabulary), -1) {
  new_[std::size_t(padding)] = 0;
}

void UsedPieces::add(std::span<const Encoded> sentences) {
  for (const Encoded& sentence : sentences)
    for (const TokenId piece : sentence.ids) new_[std::size_t(piece)] = 0;
}

void UsedPieces::number() {
  for (std::size_t piece = 0; piece < new_.size(); ++piece)
    if (new_[piece] == 0) {
      new_[piece] = TokenId(used_.size());
      used_.push_back(TokenId(piece));
    }
}

TokenId UsedPieces::new_number(TokenId piece) const { return new_.at(std::size_t(piece)); }

void UsedPieces::renumber(std::vector<Encoded>& sentences) const {
  for (Encoded& sentence : sentences)
    for (TokenId& piece : sentence.ids) piece = new_number(piece);
}

Bert<float> UsedPieces::cut(const Bert<float>& model) const {
  Bert<float> result = model;
  comet::Parameter<float> words(model.word.rows(), size());
  for (Index row = 0; row < size(); ++row) words.col(row) = model.word.col(used_[std::size_t(row)]);
  result.set_words(words);
  change_tables(result, [&](const Hash& hash) {
    std::vector<comet::ExpertId> table;
    for (const TokenId piece : used_) table.push_back(hash.table()[std::size_t(piece)]);
    return table;
  });
  return result;
}

Bert<float> UsedPieces::whole(const Bert<float>& model, const comet::Matrix<float>& words) const {
  Bert<float> result = model;
  comet::Parameter<float> all(words.rows(), words.cols());
  all = words;
  for (Index row = 0; row < size(); ++row) all.col(used_[std::size_t(row)]) = model.word.col(row);
  result.set_words(all);
  change_tables(result, [&](const Hash& hash) {
    // The others go round.
    std::vector<comet::ExpertId> table(new_.size());
    for (std::size_t piece = 0; piece < new_.size(); ++piece)
      table[piece] = new_[piece] < 0 ? comet::ExpertId(Index(piece) % hash.num_experts())
                                     : hash.table()[std::size_t(new_[piece])];
    return table;
  });
  return result;
}

}  // namespace programs::bert
