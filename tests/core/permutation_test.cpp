// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <comet/core/permutation.hpp>

using comet::ExpertId;
using comet::Index;
using comet::Permutation;
using comet::RandomKey;

TEST_CASE("a permutation maps slots to experts, as P(i, pi(i)) = 1") {
  const Permutation p({2, 0, 3, 1});
  REQUIRE(p.size() == 4);
  CHECK(p[0] == 2);
  CHECK(p(3) == 1);
  CHECK(std::vector<ExpertId>(p.as_span().begin(), p.as_span().end()) ==
        std::vector<ExpertId>{2, 0, 3, 1});

  comet::Matrix<double> expected(4, 4);
  expected << 0, 0, 1, 0,  //
      1, 0, 0, 0,          //
      0, 0, 0, 1,          //
      0, 1, 0, 0;
  CHECK(p.matrix() == expected);
  CHECK(p.matrix<float>() == expected.cast<float>());

  // (g P)(l) = sum_i g(i) P(i, l): the weight of slot i arrives at expert p(i).
  const Eigen::RowVector4d g(0.1, 0.2, 0.3, 0.4);
  const Eigen::RowVector4d moved = g * p.matrix();
  for (Index i = 0; i < 4; ++i) CHECK(moved(p[i]) == g(i));
}

TEST_CASE("inverse and compose agree with their matrices") {
  for (const Index n : {0, 1, 2, 5, 33}) {
    const Permutation p = Permutation::random(n, RandomKey(1).fold(static_cast<std::uint64_t>(n)));
    const Permutation q = Permutation::random(n, RandomKey(2).fold(static_cast<std::uint64_t>(n)));
    const Permutation identity = Permutation::identity(n);
    CHECK(compose(p, p.inverse()) == identity);
    CHECK(compose(p.inverse(), p) == identity);
    CHECK(compose(p, identity) == p);
    CHECK(p.inverse().matrix() == p.matrix().transpose());
    CHECK(compose(p, q).matrix() == p.matrix() * q.matrix());
  }
  CHECK_THROWS_WITH(compose(Permutation::identity(2), Permutation::identity(3)),
                    "comet::compose: q.size() is 3, expected p.size() = 2");
}

TEST_CASE("what is not a permutation is refused with the slot at fault") {
  CHECK_THROWS_WITH(Permutation({0, 2}),
                    "comet::Permutation: the expert of slot 1 is 2, expected in 0..1");
  CHECK_THROWS_WITH(Permutation({0, -1}),
                    "comet::Permutation: the expert of slot 1 is -1, expected in 0..1");
  CHECK_THROWS_WITH(Permutation({1, 0, 1}),
                    "comet::Permutation: the expert of slot 2 is 1, expected each expert once "
                    "(slot 0 has it already)");
  CHECK_THROWS_AS(Permutation::identity(-1), std::invalid_argument);
  CHECK_THROWS_AS(Permutation::identity(Index{1} << 31), std::invalid_argument);
}

TEST_CASE("random permutations follow the key and are uniform") {
  CHECK(Permutation::random(16, RandomKey(7)) == Permutation::random(16, RandomKey(7)));
  CHECK_FALSE(Permutation::random(16, RandomKey(7)) == Permutation::random(16, RandomKey(8)));

  std::map<std::vector<ExpertId>, int> count;
  const int draws = 6000;
  for (int i = 0; i < draws; ++i) {
    const Permutation p = Permutation::random(3, RandomKey(3).fold(static_cast<std::uint64_t>(i)));
    ++count[std::vector<ExpertId>(p.as_span().begin(), p.as_span().end())];
  }
  REQUIRE(count.size() == 6);
  // 1000 expected each, standard deviation 29.
  for (const auto& [order, times] : count) CHECK(std::abs(times - 1000) < 150);
}

TEST_CASE("a permutation is a regular value") {
  Permutation p = Permutation::identity(3);
  const Permutation copy = p;
  p = Permutation({1, 2, 0});
  CHECK(copy == Permutation::identity(3));
  CHECK_FALSE(p == copy);
  CHECK(Permutation().size() == 0);
  CHECK(Permutation() == Permutation::identity(0));
}
