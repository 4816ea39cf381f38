// SPDX-License-Identifier: MIT
#include <next_character/model/place_rows.hpp>

#include <algorithm>

#include <comet/losses/softmax_cross_entropy.hpp>

#include <next_character/model/evaluation.hpp>

namespace programs::next_character {
namespace {

PlaceRow row_of(const comet::Routing<float>& routing, std::size_t sample) {
  const auto first = std::size_t(routing.offsets()[sample]);
  const auto count = std::size_t(routing.offsets()[sample + 1]) - first;
  const auto experts = routing.experts().subspan(first, count);
  const auto weights = routing.weights().subspan(first, count);
  return {.experts = {experts.begin(), experts.end()}, .weights = {weights.begin(), weights.end()}};
}

}  // namespace

std::vector<PlaceRow> place_rows(const Model& model, std::span<const Symbol> text, Index window,
                                 std::size_t batch_size, std::size_t count) {
  Windows windows(text, window);
  Model::Pass pass(model);
  std::vector<PlaceRow> rows;
  const std::size_t last = std::min(count, windows.size());
  while (rows.size() < last) {
    const std::size_t first = rows.size();
    const Batch batch = windows.gather(std::min(batch_size, last - first),
                                       [&](std::size_t i) { return first + i; });
    const auto logits = model.predict(batch.before, batch.last, pass);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      rows.push_back(row_of(pass.workspace.mixture().routing(), i));
      rows.back().bits = bits_of(comet::softmax_cross_entropy(
          logits.col(Index(i)), batch.next.subspan(i, 1), comet::no_gradient));
    }
  }
  return rows;
}

}  // namespace programs::next_character
