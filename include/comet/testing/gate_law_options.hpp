// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

#include <comet/core/permutation.hpp>
#include <comet/core/types.hpp>

namespace comet::testing {

/// \brief A law that a gate breaks, and by what.
struct BrokenLaw {
  std::string law;     ///< Which law.
  std::string detail;  ///< How it is broken.

  friend bool operator==(const BrokenLaw&, const BrokenLaw&) = default;
  friend std::ostream& operator<<(std::ostream& out, const BrokenLaw& broken) {
    return out << broken.law << ": " << broken.detail;
  }
};

/// How the laws of gates are tried, and what the gate promises.
template <class G>
struct GateLawOptions {
  Index num_samples = 7;            ///< B >= 0 of the batches that are tried
  Index num_threaded_samples = 66;  ///< B >= 0 of the batch for the law on threads
  Index input_dim = 0;              ///< of features; 0 takes gate.input_dim(), or 1 without one
  Index num_ids = 0;                ///< of ids; 0 takes gate.num_ids(), or 1000 without one
  Index max_active = 0;             ///< entries per row; 0 takes gate.max_active()
  bool sums_to_one = true;          ///< false if weights may sum to less than 1
  bool at_most_one = true;          ///< false if weights may sum to more than 1
  bool any_size = true;  ///< false if batches have to be of num_samples: leaves others out
  /// Try batches of which ranks have pieces; false for a gate that is for one process.
  bool shared_batch = true;
  bool differences = true;  ///< compare gradients with differences: 2 forward passes a parameter
  /// Try what has to be refused: wrong sizes, nan, a backward() without its forward(). A gate that
  /// does not check may read beyond its memory then: false leaves these laws out.
  bool misuse = true;
  std::uint64_t seed = 0;  ///< of inputs, uniform in +-1
  /// Allocations of the program so far. Empty leaves out the laws on allocations.
  std::function<long()> count_allocations = nullptr;
  /// Changes the gate so that the weight of expert i goes to expert p(i). Empty leaves out the law
  /// on relabelling.
  std::function<void(G&, const Permutation&)> relabel = nullptr;
};

}  // namespace comet::testing
