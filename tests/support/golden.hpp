// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <Eigen/Core>
#include <nlohmann/json.hpp>

#include <comet/core/types.hpp>

/// \file
/// \brief Reader of the golden numbers in tests/data: an array of cases per file.

namespace comet::test {

using Json = nlohmann::json;

/// The cases of tests/data/NAME, for example `golden("sinkhorn.json")`.
[[nodiscard]] inline Json golden(const std::string& name) {
  const auto path = std::filesystem::path(__FILE__).parent_path().parent_path() / "data" / name;
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot open " + path.string());
  Json cases = Json::parse(file);
  if (!cases.is_array() || cases.empty()) throw std::runtime_error(path.string() + " has no cases");
  return cases;
}

/// \brief A tensor {"shape", "data"} in the same memory order, as a column-major matrix.
///
/// The last dimension becomes the rows, all others together the columns: [b, n] is n x b with one
/// sample per column, [b, k, n] is n x (b k) with column b * k + j for tree j, [n] is n x 1.
template <class S = double>
[[nodiscard]] Matrix<S> matrix(const Json& tensor) {
  const auto shape = tensor.at("shape").get<std::vector<Index>>();
  const auto data = tensor.at("data").get<std::vector<double>>();
  const Index rows = shape.empty() ? 1 : shape.back();
  Index columns = 1;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) columns *= shape[i];
  if (rows * columns != static_cast<Index>(data.size()))
    throw std::runtime_error("golden tensor: shape and data differ in size");
  return Eigen::Map<const Matrix<double>>(data.data(), rows, columns).template cast<S>();
}

/// \brief Largest difference, relative to the largest expected magnitude (absolute if all are 0).
///
/// Relative to the tensor rather than to each element, because elements that cancel to nearly 0
/// carry the rounding of the large ones. Infinity for a wrong shape or a value that is nan.
template <class A, class E>
[[nodiscard]] double relative_error(const Eigen::DenseBase<A>& actual,
                                    const Eigen::DenseBase<E>& expected) {
  const double infinity = std::numeric_limits<double>::infinity();
  if (actual.rows() != expected.rows() || actual.cols() != expected.cols()) return infinity;
  if (actual.size() == 0) return 0;
  const Matrix<double> e = expected.derived().template cast<double>();
  const Matrix<double> difference = actual.derived().template cast<double>() - e;
  if (!difference.allFinite()) return infinity;
  const double scale = e.cwiseAbs().maxCoeff();
  return difference.cwiseAbs().maxCoeff() / (scale > 0 ? scale : 1.0);
}

}  // namespace comet::test
