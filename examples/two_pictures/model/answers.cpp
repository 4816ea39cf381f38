// SPDX-License-Identifier: MIT
#include <two_pictures/model/answers.hpp>

#include <cmath>

namespace programs::two_pictures {
namespace {

/// softmax(h) at the largest logit.
double certainty_of(const comet::ConstMatrixView<float>& logits, Index b, Index answer) {
  double sum = 0;
  for (Index c = 0; c < logits.rows(); ++c)
    sum += std::exp(double(logits(c, b)) - double(logits(answer, b)));
  return 1 / sum;
}

}  // namespace

void Answers::add(const comet::ConstMatrixView<float>& logits,
                  std::span<const std::int32_t> truth) {
  for (Index b = 0; b < logits.cols(); ++b) {
    const Index label = truth[std::size_t(b)];
    Index answer = 0;
    logits.col(b).maxCoeff(&answer);
    // Classes that stand before the true one, at equal logits the one of the smaller number.
    Index before = 0;
    for (Index c = 0; c < logits.rows(); ++c)
      before += logits(c, b) > logits(label, b) || (logits(c, b) == logits(label, b) && c < label);
    right_ += answer == label;
    right_of_two_ += before < 2;
    ++confusion_[std::size_t(label)][std::size_t(answer)];
    certainty_.push_back(certainty_of(logits, b, answer));
    is_right_.push_back(answer == label);
  }
}

}  // namespace programs::two_pictures
