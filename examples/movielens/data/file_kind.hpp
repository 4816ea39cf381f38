// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace programs::movielens {

/// \brief What a file is that is no plain text in UTF-8 or another encoding of one byte per letter,
/// and what to do with it, by its first bytes: "is compressed by gzip: ...". Empty if nothing
/// speaks against plain text.
[[nodiscard]] std::string_view other_kind_of_file(std::string_view first_bytes);

}  // namespace programs::movielens
