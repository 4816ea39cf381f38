// SPDX-License-Identifier: MIT
#include <support/catch.hpp>

#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/identity.hpp>

using namespace comet::detail;

static_assert(std::is_nothrow_move_constructible_v<Identity>);

TEST_CASE("an identity is that of one object, until it is assigned to") {
  Identity a, b = a, c = std::move(b);
  for (const auto number : {b.number(), c.number()}) CHECK(number > a.number());
  FilledBy filled;
  CHECK_THROWS_WITH(filled.check("f", a, "part"),
                    "comet::f: the pass holds no forward(), or a backward() has used it; call "
                    "forward() first");
  filled.set(a);
  CHECK_NOTHROW(filled.check("f", a, "part"));
  CHECK_THROWS_WITH(filled.check("f", c, "part"),
                    "comet::f: the pass holds a forward() of another part");
  a = c;
  CHECK_THROWS_WITH(filled.check("f", a, "part"),
                    "comet::f: the pass holds a forward() of another part");
  CHECK(a.number() != c.number());
}
