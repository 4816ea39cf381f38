// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>

namespace comet {

/// \brief How the relaxed permutation search hardens: temperature and number of Sinkhorn iterations
/// at step t of T.
///
/// tau(t) = first_temperature^(1 - t/T) last_temperature^(t/T),
/// L(t) = floor(first_iterations + (last_iterations - first_iterations) t/T).
///
/// The default is a warm schedule: P starts nearly uniform and ends nearly hard. On planted
/// problems it found the true order every time, and the published one never
/// (examples/shuffled_slots.cpp).
struct Annealing {
  double first_temperature = 0.1;  ///< tau at the first step, > 0.
  double last_temperature = 1e-3;  ///< tau at the last step, > 0.
  Index first_iterations = 20;     ///< Sinkhorn iterations at the first step, >= 1.
  Index last_iterations = 20;      ///< Sinkhorn iterations at the last step, >= 1.

  /// tau(t) = 10^(-3 - 4 t/T), L(t) = floor(20 + 130 t/T) (Ibrahim et al., COMET, KDD 2023,
  /// supplement). P is close to a random permutation from the first step on.
  [[nodiscard]] static constexpr Annealing published() {
    return {.first_temperature = 1e-3,
            .last_temperature = 1e-7,
            .first_iterations = 20,
            .last_iterations = 150};
  }

  /// \throws std::invalid_argument unless both temperatures are finite and > 0, and
  /// 1 <= first_iterations <= last_iterations
  void validate() const {
    detail::check_positive("Annealing", "first_temperature", first_temperature);
    detail::check_positive("Annealing", "last_temperature", last_temperature);
    detail::check_at_least("Annealing", "first_iterations", first_iterations, 1);
    detail::check_at_least("Annealing", "last_iterations", last_iterations, first_iterations);
  }

  /// \throws std::invalid_argument unless 0 <= step <= total and total >= 1
  [[nodiscard]] double temperature(Index step, Index total) const {
    check_step("Annealing::temperature", step, total);
    const double first = std::log10(first_temperature);
    const double last = std::log10(last_temperature);
    return std::pow(
        10.0, first + (last - first) * static_cast<double>(step) / static_cast<double>(total));
  }

  /// \throws std::invalid_argument unless 0 <= step <= total and total >= 1
  [[nodiscard]] Index iterations(Index step, Index total) const {
    check_step("Annealing::iterations", step, total);
    // In integers, where floor is exact; in floating point 130 * 0.1 may be a hair off 13.
    return first_iterations + (last_iterations - first_iterations) * step / total;
  }

  friend bool operator==(const Annealing&, const Annealing&) = default;

 private:
  static void check_step(const char* where, Index step, Index total) {
    detail::check_at_least(where, "total", total, 1);
    detail::check_at_least(where, "step", step, 0);
    detail::check_at_most(where, "step", step, "total", total);
  }
};

}  // namespace comet
