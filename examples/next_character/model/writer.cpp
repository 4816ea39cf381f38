// SPDX-License-Identifier: MIT
#include <next_character/model/writer.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

namespace programs::next_character {

Writer::Writer(const Model& model, const Alphabet& alphabet, Index window, WriterOptions options)
    : model_(model),
      alphabet_(alphabet),
      window_(std::size_t(window)),
      options_(options),
      pass_(model),
      shares_(alphabet.bytes().size()) {}

std::string Writer::write(std::string_view beginning, std::size_t length, RandomKey key) {
  std::vector<std::int32_t> symbols(window_, alphabet_.symbol('\n'));
  symbols.reserve(window_ + beginning.size() + length);
  for (const char c : beginning) symbols.push_back(alphabet_.symbol(c));
  std::string text;
  for (std::size_t i = 0; i < length; ++i) {
    const auto window = std::span<const std::int32_t>(symbols).last(window_);
    const auto logits = model_.predict(window, window.last(1), pass_);
    const Symbol next = draw(logits, key.uniform(i));
    symbols.push_back(next);
    text += alphabet_.byte(next);
  }
  return text;
}

/// The symbol of unknown bytes is never drawn: it stands for no character.
Symbol Writer::draw(const ConstMatrixView<float>& logits, double uniform) {
  const auto known = logits.col(0).head(Index(shares_.size()));
  Index likeliest = 0;
  const double largest = double(known.maxCoeff(&likeliest));
  if (options_.temperature == 0) return Symbol(likeliest);
  double sum = 0;
  for (std::size_t i = 0; i < shares_.size(); ++i)
    sum += shares_[i] = std::exp((double(known[Index(i)]) - largest) / options_.temperature);
  double rest = uniform * sum;
  for (std::size_t i = 0; i < shares_.size(); ++i)
    if ((rest -= shares_[i]) < 0) return Symbol(i);
  return Symbol(likeliest);  // by rounding only
}

}  // namespace programs::next_character
