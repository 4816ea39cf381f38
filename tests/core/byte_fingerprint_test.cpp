// SPDX-License-Identifier: MIT
#include <comet/core/byte_fingerprint.hpp>

#include <support/catch.hpp>

using comet::detail::ByteFingerprint;

TEST_CASE("the fingerprint of bytes is FNV-1a, in one piece or several") {
  CHECK(ByteFingerprint().value() == 0xcbf29ce484222325ULL);
  CHECK(ByteFingerprint().add("a", 1).value() == 0xaf63dc4c8601ec8cULL);  // its authors' examples
  CHECK(ByteFingerprint().add("foobar", 6).value() == 0x85944171f73967e8ULL);
  CHECK(ByteFingerprint().add("foo", 3).add("bar", 3).value() == 0x85944171f73967e8ULL);
}
