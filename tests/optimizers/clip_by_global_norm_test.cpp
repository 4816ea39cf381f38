// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>

#include <comet/core/thread_pool.hpp>
#include <comet/optimizers/clip_by_global_norm.hpp>

#include <support/allocation_counter.hpp>
#include <support/catch.hpp>
#include <support/model.hpp>

using namespace comet;

namespace {

template <class S>
struct Model {
  using Scalar = S;
  Parameter<S> a, b;
  explicit Model(Index cols = 7) : a(3, cols), b({5}) {}
  void visit(auto&& f) const {
    f("a", a);
    f("b", b);
  }
};

template <class S>
Gradients<S> random_gradients(const Model<S>& model) {
  Gradients<S> gradients(model);
  gradients[0] = test::random_matrix<S>(3, model.a.cols(), 1);
  gradients[1] = test::random_matrix<S>(5, 1, 2);
  return gradients;
}

}  // namespace

TEMPLATE_TEST_CASE("gradients are shortened to a norm, and left alone if they are short enough", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  const Model<S> model;
  auto gradients = random_gradients(model);
  const auto before = test::values_of(gradients);
  double sum = 0;
  for (const S g : before) sum += double(g) * double(g);
  const double norm = std::sqrt(sum);
  CHECK(clip_by_global_norm(gradients, 2 * norm) == Approx(norm).epsilon(1e-12));
  CHECK(test::same_bits(test::values_of(gradients), before));
  CHECK(clip_by_global_norm(gradients, norm / 4) == Approx(norm).epsilon(1e-12));
  const auto after = test::values_of(gradients);
  for (std::size_t i = 0; i < after.size(); ++i)
    CHECK(double(after[i]) == Approx(double(before[i]) / 4).epsilon(1e-6));
  CHECK(clip_by_global_norm(gradients.view(), 100) == Approx(norm / 4).epsilon(1e-6));
  gradients.set_zero();
  CHECK(clip_by_global_norm(gradients, 1) == 0);
}

TEST_CASE("clipping gives the same bits for any number of threads, and allocates nothing") {
  const Model<float> model(700'000);  // enough to be worth them
  std::vector<float> expected;
  double expected_norm = 0;
  for (const Index threads : {0, 1, 2, 4}) {
    ThreadPool pool(std::max(Index(1), threads));
    auto gradients = random_gradients(model);
    const double norm = clip_by_global_norm(gradients, 1.0, threads > 0 ? &pool : nullptr);
    if (threads == 0) {
      expected = test::values_of(gradients);
      expected_norm = norm;
    }
    CHECK(norm == expected_norm);
    CHECK(test::same_bits(test::values_of(gradients), expected));
    if (test::can_count_allocations)
      CHECK(test::count_allocations([&] { clip_by_global_norm(gradients, 0.5, &pool); }) == 0);
  }
}

TEST_CASE("a norm that is not finite is named, and nothing is changed") {
  const Model<double> model;
  auto gradients = random_gradients(model);
  gradients[1](2, 0) = std::nan("");
  const auto before = test::values_of(gradients);
  CHECK_THROWS_WITH(clip_by_global_norm(gradients, 1),
                    "comet::clip_by_global_norm: gradients[1](2, 0) is nan, expected a finite "
                    "number");
  CHECK_THROWS_AS(clip_by_global_norm(gradients, 1), NotFinite);
  CHECK(test::same_bits(test::values_of(gradients), before));
  gradients[1](2, 0) = 1e200;
  CHECK_THROWS_WITH(clip_by_global_norm(gradients, 1),
                    "comet::clip_by_global_norm: the norm of the gradients overflows");
  for (const double bad : {0.0, -1.0, std::numeric_limits<double>::infinity()})
    CHECK_THROWS_AS(clip_by_global_norm(gradients, bad), std::invalid_argument);
  // In float squares may be larger than a float.
  const Model<float> small;
  Gradients narrow(small);
  narrow[0](0, 0) = 3e38F;
  CHECK(clip_by_global_norm(narrow, 1) == Approx(3e38));
  CHECK(narrow[0](0, 0) == Approx(1));
}

TEST_CASE("a factor that is too small for the scalar still shortens to the norm") {
  const Model<float> narrow;
  for (const double max_norm : {1e-2, 1e-5, 1e-7, 1e-20}) {
    CAPTURE(max_norm);
    Gradients gradients(narrow);
    gradients[0](1, 2) = 1e38F;
    gradients[1](3, 0) = -1e38F;
    CHECK(clip_by_global_norm(gradients, max_norm) == Approx(std::sqrt(2.0) * 1e38));
    CHECK(double(gradients[0](1, 2)) / max_norm == Approx(std::sqrt(0.5)).epsilon(1e-6));
    CHECK(double(gradients[1](3, 0)) / max_norm == Approx(-std::sqrt(0.5)).epsilon(1e-6));
    CHECK(gradients[0](0, 0) == 0);
  }
  const Model<double> wide;
  Gradients gradients(wide);
  gradients[0](1, 2) = 1e150;
  CHECK(clip_by_global_norm(gradients, 1e-200) == Approx(1e150));
  CHECK(gradients[0](1, 2) / 1e-200 == Approx(1));
}
