// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include <comet/core/pass.hpp>
#include <comet/core/types.hpp>
#include <comet/experts/mlp.hpp>
#include <comet/gates/any.hpp>
#include <comet/local_search/permuted_gate.hpp>
#include <comet/moe_layer.hpp>

#include <bert/model/sentence_gate.hpp>

namespace programs::bert {

using comet::Index;

/// \brief The feed-forward part of a layer of a student: a comet layer inside a module of LibTorch.
///
/// A regular value: copies are deep. The layer's memory is what both libraries work on. LibTorch's
/// headers take half a minute, so this one does without.
/// \tparam S  float or double
template <class S>
class Mixture {
 public:
  using Scalar = S;
  using Gate = comet::PermutedGate<comet::AnyGate<S>>;
  using OfSentences = SentenceGate<comet::AnyGate<S>>;  ///< what a Gate may hold
  using Expert = comet::MlpExpert<S>;
  using Layer = comet::MoeLayer<Gate, Expert>;
  struct Module;  ///< a comet::TorchMoe, for sources that know LibTorch

  /// \param threads  that share a call
  explicit Mixture(Layer layer, Index threads = 1);
  Mixture(const Mixture& other);
  Mixture(Mixture&& other) noexcept;
  Mixture& operator=(const Mixture& other);
  Mixture& operator=(Mixture&& other) noexcept;
  ~Mixture();

  [[nodiscard]] const Layer& layer() const;
  /// To be changed in place until the next pass.
  [[nodiscard]] Layer& layer();
  /// Of the last forward or backward pass. \throws std::invalid_argument if there was none
  [[nodiscard]] const comet::Pass<Layer>& pass() const;
  [[nodiscard]] Module& module() const { return *module_; }
  /// The gate, if it looks at sentences: the ids of tokens are those of their sentences then. Null
  /// for one that looks at tokens.
  [[nodiscard]] const OfSentences* of_sentences() const {
    return layer().gates().front().gate().template get_if<OfSentences>();
  }

  template <class F>
  void visit(F&& f) const {
    layer().visit(f);
  }

 private:
  std::unique_ptr<Module> module_;
};

extern template class Mixture<float>;
extern template class Mixture<double>;

}  // namespace programs::bert
