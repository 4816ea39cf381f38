// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/optimizers/clip_by_global_norm.hpp>

#include <next_character/data/windows.hpp>
#include <next_character/model/build_model.hpp>
#include <next_character/model/model.hpp>
#include <next_character/model/optimizer.hpp>
#include <next_character/model/train_options.hpp>

#include <support/allocation_counter.hpp>
#include <support/catch.hpp>

using namespace programs::next_character;

TEST_CASE("a step allocates nothing once its sizes were seen", "[next_character][model]") {
  if (!comet::test::can_count_allocations) return;
  std::string text;
  for (int i = 0; i < 400; ++i) text += char(i * i % 7);
  for (const std::string gate : {"comet", "top_k", "dense"}) {
    INFO(gate);
    TrainOptions options;
    options.gate = gate;
    options.model = {
        .window = 5, .embedding_dim = 3, .hidden_dim = 16, .num_experts = 4, .expert_dim = 8};
    Model model = build_model(options, std::vector<std::int64_t>(7, 1));
    comet::ThreadPool pool(2);
    comet::Gradients<float> gradients(model);
    Model::Pass pass(model, gradients.view(), &pool);
    comet::AdamW<float> adam(model, {.groups = undecayed()}, &pool);
    Windows windows(as_symbols(text), 5);
    const auto step = [&](std::uint64_t number) {
      const comet::RandomKey key(number);
      const Batch batch = windows.gather(
          64, [&](std::size_t i) { return std::size_t(key.index(i, windows.size())); });
      (void)model.accumulate_gradients(batch.before, batch.last, batch.next, key, pass);
      (void)comet::clip_by_global_norm(gradients, 1.0, &pool);
      adam.step(model, gradients);
    };
    // Rows have other lengths in other batches, so that sizes are seen after some steps.
    for (std::uint64_t number = 0; number < 40; ++number) step(number);
    CHECK(comet::test::count_allocations([&] {
            for (std::uint64_t number = 0; number < 40; ++number) step(number);
          }) == 0);
  }
}
