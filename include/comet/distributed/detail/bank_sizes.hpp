// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/index_range.hpp>
#include <comet/core/types.hpp>
#include <comet/distributed/collectives.hpp>
#include <comet/distributed/communicator.hpp>
#include <comet/experts/detail/padding.hpp>

namespace comet::detail {

/// \brief The sizes of a bank whose experts are on several ranks, agreed on by all of them: a rank
/// without experts learns them from others, and what does not fit is refused on every rank.
struct BankSizes {
  Index input_dim = 0;
  Index output_dim = 0;
  Index column_multiple = 1;
  std::vector<IndexRange> shares;  ///< per rank, the experts that live there

  template <Communicator C, class E>
  BankSizes(C& world, const std::vector<E>& experts) {
    constexpr const char* where = "DistributedBank";
    Message mine{Index(sizeof(typename E::Scalar)), Index(experts.size())};
    if (!experts.empty()) {
      mine.input_dim = experts.front().input_dim();
      mine.output_dim = experts.front().output_dim();
      mine.column_multiple = comet::detail::column_multiple(experts.front());
    }
    const std::vector<Message> all = all_gather(world, mine);
    Index n = 0;
    for (std::size_t r = 0; r < all.size(); ++r) {
      const std::string of = " of rank " + std::to_string(r);
      const Message& each = all[r];
      check_equal(where, "the scalar's size" + of, each.scalar, "that of rank 0", all[0].scalar);
      shares.push_back({n, n + each.num_experts});
      if (each.num_experts == 0) continue;
      if (n == 0) {
        input_dim = each.input_dim;
        output_dim = each.output_dim;
        column_multiple = each.column_multiple;
      }
      check_equal(where, "expert.input_dim()" + of, each.input_dim, "that of the first expert",
                  input_dim);
      check_equal(where, "expert.output_dim()" + of, each.output_dim, "that of the first expert",
                  output_dim);
      n += each.num_experts;
    }
    check_at_least(where, "the number of experts of all ranks", n, 1);
  }

 private:
  /// What ranks tell each other.
  struct Message {
    Index scalar, num_experts;
    Index input_dim = 0, output_dim = 0, column_multiple = 1;
  };
};

}  // namespace comet::detail
