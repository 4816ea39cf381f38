// SPDX-License-Identifier: MIT
#include <next_character/model/character_task.hpp>

#include <cstdint>

#include <next_character/model/writer.hpp>
#include <programs/base/utf8.hpp>

namespace programs::next_character {

CharacterTask::CharacterTask(Model& model, const Text& text, Index window, std::size_t batch_size,
                             std::size_t epoch, comet::ThreadPool* pool)
    : model_(&model),
      text_(&text),
      window_(window),
      batch_size_(batch_size),
      epoch_(epoch),
      pass_(model, pool),
      train_(text.train(), window),
      validation_(text.validation(), window, batch_size, validation_places) {}

TrainingLoss CharacterTask::accumulate_gradients(std::size_t b, RandomKey key,
                                                 comet::GradientView<float> gradients) {
  const RandomKey places = epoch_key_.fold(b);
  const Batch batch = train_.gather(
      batch_size_, [&](std::size_t i) { return std::size_t(places.index(i, train_.size())); });
  pass_.borrow(gradients);
  const Loss loss = model_->accumulate_gradients(batch.before, batch.last, batch.next, key, pass_);
  return {.total = loss.total(),
          .parts = {{"bits", bits_of(loss.cross_entropy)}},
          .penalty = loss.penalty};
}

Figures CharacterTask::test() {
  return Evaluator(text_->test(), window_, batch_size_, test_places).evaluate(*model_, pass_);
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
