// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <comet/core/gradients.hpp>
#include <comet/core/random.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/gates/make_gate.hpp>
#include <comet/metrics/mutual_information.hpp>
#include <comet/optimizers/adam.hpp>
#include <comet/testing/gradient_check.hpp>

#include <two_pictures/data/batches.hpp>
#include <two_pictures/data/synthetic.hpp>
#include <two_pictures/model/answers.hpp>
#include <two_pictures/model/build_model.hpp>
#include <two_pictures/model/evaluation.hpp>
#include <two_pictures/model/model.hpp>

#include <support/allocation_counter.hpp>
#include <support/catch.hpp>
#include <support/model.hpp>

using namespace programs::two_pictures;

namespace {

ModelOptions small_sizes(Index tasks) {
  return {.height = 16,
          .width = 15,
          .num_tasks = tasks,
          .num_classes = 4,
          .num_experts = 3,
          .filters = 2,
          .second_filters = 3,
          .kernel = 3,
          .expert_dim = 5,
          .head_dim = 4};
}

template <class S>
PictureModel<S> make_model(const ModelOptions& sizes) {
  const RandomKey key(1);
  std::vector<typename PictureModel<S>::Gate> gates;
  for (Index task = 0; task < sizes.num_tasks; ++task)
    gates.emplace_back(comet::make_gate<S>("comet",
                                           {.input_dim = sizes.height * sizes.width,
                                            .num_experts = sizes.num_experts,
                                            .k = 2,
                                            .gamma = 4,
                                            .entropy = 0.1},
                                           key.fold(std::uint64_t(task))));
  return PictureModel<S>(sizes, std::move(gates), key.fold(9));
}

}  // namespace

TEST_CASE("PictureModel: gradients of all parameters, one task and two", "[two_pictures][model]") {
  const Index tasks = GENERATE(1, 2), samples = 5;
  const ModelOptions sizes = small_sizes(tasks);
  auto model = make_model<double>(sizes);
  PictureModel<double>::Pass pass(model);
  const Matrix<double> pixels =
      comet::test::random_matrix<double>(sizes.height * sizes.width, samples, 3);
  std::vector<std::int32_t> labels, picture(std::size_t(samples), 0);
  for (Index i = 0; i < tasks * samples; ++i) labels.push_back(std::int32_t(i * 7 % 4));
  const RandomKey key(5);
  comet::Gradients<double> ignored(model);
  const auto result = comet::testing::check_gradients(
      model,
      [&] {
        pass.borrow(ignored.view());
        return model.accumulate_gradients(pixels, picture, labels, key, pass).total;
      },
      [&](comet::GradientView<double> gradients) {
        pass.borrow(gradients);
        (void)model.accumulate_gradients(pixels, picture, labels, key, pass);
      });
  INFO(result.where << ": " << result.analytic << " and " << result.numeric);
  CHECK(result.num_checked > 500);
  CHECK(result.largest_error < 1e-7);
}

TEST_CASE("PictureModel: a step allocates nothing once its sizes were seen",
          "[two_pictures][model]") {
  if (!comet::test::can_count_allocations) return;
  const auto all =
      std::make_shared<const Labelled>(make_synthetic_pictures(120, comet::RandomKey(1)));
  std::vector<std::int32_t> numbers;
  for (std::int32_t i = 0; i < 120; ++i) numbers.push_back(i);
  const Examples examples = Examples::pairs(all, numbers, 10, 1, RandomKey(2));
  for (const std::string gate : {"comet", "top_k", "hash", "dense_per_task"}) {
    INFO(gate);
    TrainOptions options;
    options.gate = gate;
    options.model.filters = options.model.second_filters = 2;
    Model model = build_model(options, model_of(options, examples), examples.num_pictures());
    comet::ThreadPool pool(2);
    comet::Gradients<float> gradients(model);
    Model::Pass pass(model, gradients.view(), &pool);
    comet::Adam<float> adam(model, {}, &pool);
    Batches batches(examples, 30);
    const auto epoch = [&](std::uint64_t number) {
      batches.shuffle(RandomKey(number % 3));
      for (std::size_t b = 0; b < batches.size(); ++b) {
        const Batch batch = batches[b];
        (void)model.accumulate_gradients(batch.pixels, batch.picture, batch.labels, RandomKey(b),
                                         pass);
        adam.step(model, gradients);
      }
    };
    for (std::uint64_t number = 0; number < 12; ++number) epoch(number);
    CHECK(comet::test::count_allocations([&] {
            for (std::uint64_t number = 12; number < 15; ++number) epoch(number);
          }) == 0);
  }
}

TEST_CASE("Answers: accuracy, the first two, confusion and calibration", "[two_pictures][model]") {
  Answers answers(3);
  Matrix<float> logits(3, 4);
  logits << 2, 0, 5, 0,  //
      1, 0, 0, 1,        //
      0, 0, 4, 9;
  answers.add(logits, std::vector<std::int32_t>{0, 1, 2, 0});
  CHECK(answers.accuracy() == 0.25);
  CHECK(answers.top2_accuracy() == 0.75);  // the second is a tie that the smaller number wins
  CHECK(answers.confusion() ==
        std::vector<std::vector<std::int64_t>>{{1, 0, 1}, {1, 0, 0}, {1, 0, 0}});
  const auto bins = answers.calibration();
  REQUIRE(bins.size() == 4);
  CHECK(bins[0].predicted == Approx(1.0 / 3));
  CHECK(bins[1].observed == 1.0);  // e^2 / (e^2 + e + 1) = 0.665
  CHECK(bins[3].predicted == Approx(0.99954).margin(1e-4));
  double expected = 0;
  for (const auto& bin : bins) expected += std::abs(bin.predicted - bin.observed) / 4;
  CHECK(comet::calibration_error(bins) == Approx(expected));
}

TEST_CASE("Evaluator: a hash gate tells nothing of the class, a split by class all",
          "[two_pictures][model]") {
  const auto all =
      std::make_shared<const Labelled>(make_synthetic_pictures(400, comet::RandomKey(1)));
  std::vector<std::int32_t> numbers;
  for (std::int32_t i = 0; i < 400; ++i) numbers.push_back(i);
  const Examples examples(all, numbers, 10);
  TrainOptions options;
  options.gate = "hash";
  options.model.num_experts = 2;
  options.model.filters = options.model.second_filters = 1;
  const Model model = build_model(options, model_of(options, examples), examples.num_pictures());
  Model::Pass pass(model);
  Evaluator evaluator(examples, 64);
  const auto figures = evaluator.evaluate(model, pass);
  CHECK(figures.experts_per_sample == 1);
  // Picture i is of class i mod 10 and goes to expert i mod 2.
  const Matrix<double>& together = evaluator.experts_by_class().front();
  CHECK(comet::mutual_information(together) == Approx(std::log(2.0)));
  CHECK(together(3, 0) == 0);
  CHECK(together(3, 1) == 40);
  CHECK(figures.measure("multiply_adds") == model.mixture().experts().front().cost());
}
