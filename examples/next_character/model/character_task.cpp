// SPDX-License-Identifier: MIT
#include <next_character/model/character_task.hpp>

#include <cstdint>
#include <numbers>

#include <comet/distributed/collectives.hpp>

#include <next_character/model/writer.hpp>
#include <programs/base/piece.hpp>
#include <programs/base/utf8.hpp>
#include <programs/training/shared_batch.hpp>

namespace programs::next_character {

CharacterTask::CharacterTask(Model& model, const Text& text, Index window, std::size_t batch_size,
                             std::size_t epoch, comet::ThreadPool* pool, Ranks* ranks)
    : model_(&model),
      text_(&text),
      window_(window),
      batch_size_(batch_size),
      epoch_(epoch),
      ranks_(ranks),
      pass_(model, pool),
      train_(text.train(), window),
      validation_(text.validation(), window, batch_size, validation_places) {
  if (ranks != nullptr) pass_.rank_sum = comet::make_rank_sum(*ranks);
}

TrainingLoss CharacterTask::accumulate_gradients(std::size_t b, RandomKey key,
                                                 comet::GradientView<float> gradients) {
  const RandomKey places = epoch_key_.fold(b);
  const comet::IndexRange rows = share_of(Index(batch_size_), ranks_);
  const Batch batch = train_.gather(std::size_t(rows.size()), [&](std::size_t i) {
    return std::size_t(places.index(std::size_t(rows.first) + i, train_.size()));
  });
  pass_.borrow(gradients);
  const Piece here = piece_of(rows, Index(batch_size_));
  const Loss loss =
      model_->accumulate_gradients(batch.before, batch.last, batch.next, key, pass_, here);
  TrainingLoss sums = {.total = loss.total(),
                       .parts = {{"bits", bits_of(here.share * loss.cross_entropy)}},
                       .penalty = loss.penalty};
  if (ranks_ == nullptr) return sums;
  comet::reduce_gradients(*ranks_, *model_, gradients, comet::SumOrder::ranks, reduce_);
  sum_parts(*ranks_, sums);
  sums.total = sums.parts.front().value * std::numbers::ln2 + sums.penalty;
  return sums;
}

Figures CharacterTask::test() {
  return Evaluator(text_->test(), window_, batch_size_, test_places)
      .evaluate(*model_, pass_, ranks_);
}

std::string CharacterTask::remark() {
  constexpr std::size_t length = 60;
  Writer writer(*model_, text_->alphabet, window_, {.temperature = 0.7});
  std::string line = writer.write("\n", length, RandomKey(0));
  for (char& c : line)
    if (c == '\n') c = ' ';
  return "  " + printable(line);
}

}  // namespace programs::next_character
