// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>

#include <comet/core/check.hpp>
#include <comet/core/gradients.hpp>
#include <comet/core/thread_pool.hpp>
#include <comet/core/types.hpp>

namespace comet {

namespace detail {

/// f(values) for every chunk of gradients that falls to a part: which, the sizes decide.
template <class S, class F>
void for_each_chunk_of(GradientView<S> gradients, Index part, Index num_parts, F&& f) {
  constexpr Index chunk_size = 1 << 14;
  Index chunk = 0;
  for (Index i = 0; i < gradients.size(); ++i) {
    auto tensor = gradients[i];
    for (Index first = 0; first < tensor.size(); first += chunk_size, ++chunk)
      if (chunk % num_parts == part)
        f(Eigen::Map<Eigen::Array<S, Eigen::Dynamic, 1>>(
            tensor.data() + first, std::min(chunk_size, tensor.size() - first)));
  }
}

/// \brief values *= max_norm / norm, where norm is the larger one.
template <class S, class Values>
void shorten(double norm, double max_norm, Values&& values) {
  const double factor = max_norm / norm;
  if (factor >= double(std::numeric_limits<S>::min())) [[likely]]
    values *= S(factor);
  else  // As one number of type S it would lose its digits, or be 0.
    values = ((values.template cast<double>() / norm) * max_norm).template cast<S>();
}

}  // namespace detail

/// \brief Shortens gradients to a length: g *= max_norm / |g| if |g| > max_norm, |g| being the
/// Euclidean norm of all tensors together (Pascanu, Mikolov and Bengio, ICML 2013, Algorithm 1).
///
/// \code
///   clip_by_global_norm(gradients, 1.0);              // or pass.gradients(model)
///   optimizer.step(model, gradients);
/// \endcode
/// \param max_norm  > 0
/// \param pool      not owned, may be null
/// \return |g| as it was before, summed in double
/// \throws std::invalid_argument if max_norm is not a finite number > 0
/// \throws NotFinite naming the first gradient that is not finite, or if the norm overflows;
///         nothing is changed then
/// \par Cost     one pass over the gradients, a second one if they are too long
/// \par Threads  those of the pool share chunks; the same bits for any number of them
template <class S>
double clip_by_global_norm(GradientView<S> gradients, double max_norm, ThreadPool* pool = nullptr) {
  constexpr const char* where = "clip_by_global_norm";
  constexpr Index num_parts = 64;  // sums that do not know of threads
  detail::check_positive(where, "max_norm", max_norm);
  double size = 0;
  for (Index i = 0; i < gradients.size(); ++i) size += double(gradients[i].size());
  pool = detail::worth_threads(pool, size);
  std::array<double, std::size_t(num_parts)> sums = {};
  parallel_for(pool, num_parts, [&](Index part, Index) {
    detail::for_each_chunk_of(gradients, part, num_parts, [&](const auto& values) {
      sums[std::size_t(part)] += values.template cast<double>().square().sum();
    });
  });
  double sum = 0;
  for (const double each : sums) sum += each;
  if (!std::isfinite(sum)) [[unlikely]] {
    for (Index i = 0; i < gradients.size(); ++i)
      detail::check_finite<S>(where, "gradients[" + std::to_string(i) + "]", gradients[i]);
    detail::raise_not_finite(where, "the norm of the gradients", "overflows");
  }
  const double norm = std::sqrt(sum);
  if (norm > max_norm) {
    parallel_for(pool, num_parts, [&](Index part, Index) {
      detail::for_each_chunk_of(gradients, part, num_parts,
                                [&](auto values) { detail::shorten<S>(norm, max_norm, values); });
    });
  }
  return norm;
}
/// \brief The same of an object.
template <class S>
double clip_by_global_norm(Gradients<S>& gradients, double max_norm, ThreadPool* pool = nullptr) {
  return clip_by_global_norm(gradients.view(), max_norm, pool);
}

}  // namespace comet
