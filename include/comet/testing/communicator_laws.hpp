// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <comet/core/types.hpp>
#include <comet/distributed/collectives.hpp>
#include <comet/distributed/communicator.hpp>
#include <comet/testing/gate_law_options.hpp>

namespace comet::testing {

/// How the laws of communicators are tried.
struct CommunicatorLawOptions {
  Index large = Index(1) << 20;  ///< bytes of a piece that is large, beyond what an engine buffers
  Index rounds = 20;             ///< of calls that follow each other without a pause
};

}  // namespace comet::testing

namespace comet::detail {

/// The laws, tried by one of the ranks.
template <Communicator C>
class CommunicatorLaws {
 public:
  CommunicatorLaws(C& world, const testing::CommunicatorLawOptions& options,
                   std::vector<testing::BrokenLaw>& broken)
      : world_(world), options_(options), broken_(broken) {}

  void check() {
    law("ranks are numbered", [&] {
      const auto ranks = all_gather(world_, Index(world_.rank()));
      for (std::size_t r = 0; r < ranks.size(); ++r)
        if (ranks[r] != Index(r)) return "place " + std::to_string(r) + " is another rank's";
      return Index(ranks.size()) == size() ? std::string() : "there are not size() of them";
    });
    law("all_to_all moves the pieces", [&] {
      return first_of({exchange<std::uint8_t>(1), exchange<double>(1), exchange<Wide>(1)});
    });
    law("pieces may be empty", [&] { return exchange<double>(0); });
    law("all_gather collects what all have", [&] { return gather(1); });
    law("broadcast hands on what root has", [&] { return first_of({spread(3), spread(0)}); });
    law("large pieces arrive", [&] {
      const Index times = std::max(Index(1), options_.large / Index(sizeof(double)));
      return first_of({exchange<double>(times), gather(times), spread(times)});
    });
    law("sums have the bits of their order", [&] {
      return first_of({sum<double>(5, SumOrder::ranks), sum<float>(5, SumOrder::tree),
                       sum<double>(2 * small_sum + 3, SumOrder::ranks),
                       sum<float>(2 * small_sum + 3, SumOrder::tree)});
    });
    law("calls in a row do not mix", [&] {
      std::string wrong;
      for (Index round = 0; round < options_.rounds; ++round) {
        world_.barrier();
        Index value = round * size() + world_.rank();
        broadcast(world_, std::span(&value, 1), round % size());
        if (value != round * size() + round % size()) wrong = "in round " + std::to_string(round);
        if (sum_over_ranks(world_, value) != value * size()) wrong = "in a sum";
      }
      return wrong;
    });
    law("what does not fit is refused, and the next call gets through", [&] {
      const std::string wrong = refuses();
      return first_of({wrong, gather(2)});
    });
  }

 private:
  struct Wide {
    std::array<std::int32_t, 6> numbers;
    Wide() = default;
    explicit Wide(Index value) { numbers.fill(std::int32_t(value)); }
    friend bool operator==(const Wide&, const Wide&) = default;
  };

  [[nodiscard]] Index size() const { return Index(world_.size()); }

  template <class Check>
  void law(const char* name, Check holds) {
    std::string detail;
    try {
      detail = holds();
    } catch (const std::exception& error) {
      detail = std::string("throws ") + error.what();
    }
    if (!detail.empty()) broken_.push_back({name, detail});
  }
  static std::string first_of(std::initializer_list<std::string> details) {
    for (const auto& each : details)
      if (!each.empty()) return each;
    return "";
  }

  // What rank `from` has for rank `to`: the sizes differ, and some are 0.
  static Index count(Index from, Index to, Index times) { return (3 * from + 2 * to) % 4 * times; }
  template <class T>
  static T item(Index from, Index to, Index i) {
    return T((from * 31 + to * 7 + i) % 251);
  }

  template <class T>
  std::string exchange(Index times) {
    std::vector<Index> out_counts, in_counts;
    std::vector<T> out, expected;
    const Index here = world_.rank();
    for (Index r = 0; r < size(); ++r) {
      out_counts.push_back(count(here, r, times));
      in_counts.push_back(count(r, here, times));
      for (Index i = 0; i < out_counts.back(); ++i) out.push_back(item<T>(here, r, i));
      for (Index i = 0; i < in_counts.back(); ++i) expected.push_back(item<T>(r, here, i));
    }
    std::vector<T> in(expected.size());
    const std::vector<T> before = out;
    all_to_all(world_, out, out_counts, std::span(in), in_counts);
    if (out != before) return "what goes out has been changed";
    return in == expected ? "" : "what comes in is not what was sent";
  }
  std::string gather(Index times) {
    std::vector<Index> counts;
    std::vector<double> expected;
    for (Index r = 0; r < size(); ++r) {
      counts.push_back(count(r, 1, times));
      for (Index i = 0; i < counts.back(); ++i) expected.push_back(item<double>(r, 1, i));
    }
    std::vector<double> out, in(expected.size());
    for (Index i = 0; i < counts[std::size_t(world_.rank())]; ++i)
      out.push_back(item<double>(world_.rank(), 1, i));
    all_gather(world_, out, counts, std::span(in));
    return in == expected ? "" : "what comes in is not what the ranks have";
  }
  std::string spread(Index times) {
    for (Index root = 0; root < size(); ++root) {
      std::vector<double> values(std::size_t(times), -1), expected;
      for (Index i = 0; i < times; ++i) expected.push_back(item<double>(root, root, i));
      if (Index(world_.rank()) == root) values = expected;
      broadcast(world_, std::span(values), root);
      if (values != expected) return "not from rank " + std::to_string(root);
    }
    return "";
  }
  // Numbers of many sizes, so that every order of adding them has its own bits.
  template <class T>
  static T summand(Index rank, Index i) {
    return T(std::ldexp(double((rank * 37 + i * 11) % 101) / 7 - 5, int((rank * 5 + i) % 9)));
  }
  template <class T>
  std::string sum(Index length, SumOrder order) {
    std::vector<T> values, all;
    for (Index r = 0; r < size(); ++r)
      for (Index i = 0; i < length; ++i) all.push_back(summand<T>(r, i));
    for (Index i = 0; i < length; ++i) values.push_back(summand<T>(world_.rank(), i));
    sum_over_ranks(world_, std::span(values), order);
    sum_vectors(all.data(), size(), length, order);
    return std::memcmp(values.data(), all.data(), values.size() * sizeof(T)) == 0
               ? ""
               : "of " + std::to_string(length) + " numbers";
  }
  std::string refuses() {
    const std::vector<double> some(std::size_t(size()) + 1);
    std::vector<double> in = some;
    std::vector<Index> ones(std::size_t(size()), 1), negative = ones;
    negative.back() = -1;
    const auto is_refused = [](auto call) {
      try {
        call();
      } catch (const std::invalid_argument&) {
        return true;
      }
      return false;
    };
    const auto right = std::span(some).first(std::size_t(size()));
    const auto room = std::span(in).first(std::size_t(size()));
    if (!is_refused([&] { all_to_all(world_, some, ones, room, ones); }))
      return "out that is larger than its counts is not refused";
    if (!is_refused([&] { all_to_all(world_, right, ones, std::span(in), ones); }))
      return "in that is larger than its counts is not refused";
    if (!is_refused([&] { all_to_all(world_, right, negative, room, ones); }))
      return "a count of -1 is not refused";
    if (!is_refused([&] { all_gather(world_, some, ones, room); }))
      return "out that is not of its count is not refused";
    if (!is_refused([&] { broadcast(world_, room, size()); }))
      return "a root that is no rank is not refused";
    return "";
  }

  C& world_;
  const testing::CommunicatorLawOptions& options_;
  std::vector<testing::BrokenLaw>& broken_;
};

}  // namespace comet::detail

namespace comet::testing {

/// \brief Checks the laws that every communicator must obey; every rank runs it:
///
///     for (const auto& broken : testing::check_communicator_laws(world)) std::cout << broken;
///
/// - Ranks are numbered 0..size()-1.
/// - all_to_all, all_gather and broadcast bring everything where it belongs, whatever the sizes:
///   uneven, large, none; what goes out is left alone.
/// - Sums over ranks have the bits of their order.
/// - Calls that follow each other without a pause do not mix.
/// - Sizes that do not fit are refused before anything is sent: the next call gets through.
///
/// That a call ends when a rank is late or gone is no law here: it would end the communicator.
///
/// \return the laws that are broken, as this rank sees it: none for a good communicator
template <Communicator C>
[[nodiscard]] std::vector<BrokenLaw> check_communicator_laws(
    C& world, const CommunicatorLawOptions& options = {}) {
  std::vector<BrokenLaw> broken;
  comet::detail::CommunicatorLaws<C>(world, options, broken).check();
  return broken;
}

}  // namespace comet::testing
